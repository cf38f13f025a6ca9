import { createServer, type Server } from 'node:http'
import { afterEach, expect, test } from '@jest/globals'
import pino from 'pino'
import { createProviders } from '../../providers'
import type { Variables } from '../../providers/adapter'
import { createSandbox } from '../../sandbox'
import { variablesFor } from '../../sandbox/vendors'
import { configOf, messageOn, providerAdapters } from '../harness/adapters'
import { closeServer, listen } from '../harness/listening'

const secret = `whsec_${Buffer.alloc(32, 9).toString('base64')}`
let close: () => Promise<void> = () => Promise.resolve()
afterEach(() => close())

/** A sandbox and the product's account, with the same variables. */
async function pair(name: string, without: string) {
  const server: Server = createServer()
  const url = await listen(server)
  const adapter = providerAdapters.find((each) => each.name === name)
  if (!adapter) throw new Error(`no adapter ${name}`)
  const variables: Variables = { ...variablesFor(url), [without]: undefined }
  const logger = pino({ level: 'silent' })
  const sandbox = createSandbox({ secret, otpilotUrl: 'http://127.0.0.1:9', logger, variables })
  server.on('request', sandbox.app)
  close = async () => {
    await sandbox.close()
    await closeServer(server)
  }
  return createProviders([configOf(adapter)], variables).get(name)
}

test.each([
  ['meta', 'META_TEMPLATE_LANGUAGES'],
  ['vonage', 'VONAGE_WHATSAPP_LANGUAGES'],
])('%s is played also where %s is left to its default', async (name, variable) => {
  const account = await pair(name, variable)
  await expect(
    account?.sender.send(messageOn('whatsapp'), AbortSignal.timeout(5_000)),
  ).resolves.toMatchObject({ providerMessageId: expect.any(String) })
})
