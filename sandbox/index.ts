import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import express, { type RequestHandler } from 'express'
import type { Logger } from 'pino'
import { createCallbacks } from './callbacks'
import { Carrier } from './carrier'
import { createInbox } from './inbox'
import { phoneRoutes } from './phone-routes'
import { refuseOtherNames } from './own-name'
import type { PersonsReply } from './message'
import { Phones } from './phones'
import { notFound, Problem, problems } from './problem'
import { providerRoutes } from './provider-routes'
import { scenarioRoutes } from './scenario-routes'
import type { Verdict } from './scenario'
import { Scenarios } from './scenarios'
import { createTimers } from './timers'
import { signUpRoutes } from './sign-up-routes'
import { Ussd, type VendorService } from './ussd'
import { listenToVendors, settingsOf, vendorRoutes, vendors } from './vendors'
import { callsWith, type Line, playWith, type Vendor, type VendorParts } from './vendors/vendor'

export interface SandboxOptions {
  /** `whsec_` and base64: Bearer token of sends and signing key of callbacks; two with a blank while one is replaced. */
  secret: string
  /** Where USSD sessions go; a function where the address is known only later. */
  otpilotUrl: string | (() => string)
  logger: Logger
  /** Where the sandbox itself is reached, when not by an address or a name of one part. */
  url?: string | undefined
  /** For the sign-up form; a key that pages may hold. */
  publishableKey?: string | undefined
  /** Where the vendors that it plays find their settings. */
  variables?: Readonly<Record<string, string | undefined>>
}

/** A messaging service that plays provider and phone; `close` ends its open connections and timers. */
export function createSandbox({
  secret,
  otpilotUrl,
  logger,
  url,
  publishableKey,
  variables = {},
}: SandboxOptions) {
  const timers = createTimers()
  const inbox = createInbox()
  const scenarios = new Scenarios()
  const phones = new Phones(inbox, timers)
  const callbacks = createCallbacks(secret, timers, logger)
  const productUrl = () => (typeof otpilotUrl === 'string' ? otpilotUrl : otpilotUrl())
  const services = servicesBy((vendor) => vendorParts(vendor))
  const ussd = new Ussd(callbacks, productUrl, services)
  const accountUrl = (account: string) => `${productUrl()}/webhooks/${account}`
  const sendReply = repliesBy(callbacks, accountUrl, (vendor) => vendorParts(vendor))
  const carrier = new Carrier({ inbox, phones, ussd, callbacks, timers, sendReply })
  const hanging = new Set<Line>()
  const play = playWith({ carrier, scenarios, timers, hanging })
  const vendorParts = (vendor: Vendor): VendorParts => ({
    settings: settingsOf(vendor, variables),
    productUrl,
    outage: () => outageOf(scenarios.healthOf(vendor.name)),
    timers,
    play,
    ...callsWith(callbacks),
  })

  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.use(safeHeaders, refuseOtherNames(url), refuseOtherSites)
  // Each reads its bodies itself.
  app.use(vendorRoutes(vendorParts))
  app.use(express.json({ limit: '64kb' }))
  app.get('/healthz', (_req, res) => {
    res.json({ status: 'ok' })
  })
  app.use(providerRoutes({ secret, carrier, scenarios, timers, hanging, accountUrl }))
  app.use(phoneRoutes({ inbox, phones, carrier }))
  app.use(scenarioRoutes(scenarios))
  app.use(signUpRoutes({ apiUrl: productUrl, publishableKey }))
  app.use(express.static(pageFolder(), { maxAge: 0 }))
  app.use(notFound)
  app.use(problems(logger))

  const listeners = listenToVendors(vendorParts)
  async function close() {
    timers.close()
    phones.close()
    for (const res of hanging) res.destroy()
    await Promise.all([callbacks.close(), listeners.close()])
  }
  return { app, ready: listeners.ready, close }
}

/** In the vendor's own format where one is played, else as the sandbox's contract has it. */
const repliesBy =
  (
    { post }: ReturnType<typeof createCallbacks>,
    accountUrl: (account: string) => string,
    partsOf: (vendor: Vendor) => VendorParts,
  ) =>
  async (account: string, reply: PersonsReply): Promise<unknown> => {
    const vendor = vendors.find(({ name }) => name === account)
    if (vendor?.reply) return vendor.reply(partsOf(vendor), reply)
    const id = `in_${randomUUID()}`
    return post(`${accountUrl(account)}/inbound`, id, {
      id,
      ...reply,
      at: new Date().toISOString(),
    })
  }

/** Whoever does not answer a send is down, too. */
const outageOf = (answer: Verdict['answer']): number | undefined =>
  answer.kind === 'accept' ? undefined : answer.kind === 'refuse' ? answer.status : 503

/** What the vendors that are played offer to dial; made at the first dial, since it needs what is made after it. */
function servicesBy(partsOf: (vendor: Vendor) => VendorParts): () => VendorService[] {
  let offered: VendorService[] | undefined
  return () => {
    offered ??= vendors.flatMap((vendor) => {
      const service = vendor.ussd?.(partsOf(vendor))
      return service ? [{ provider: vendor.name, service }] : []
    })
    return offered
  }
}

/** The page is not compiled: from `dist/` it is still read where its sources are. */
function pageFolder(): string {
  const beside = join(__dirname, 'page')
  return existsSync(beside) ? beside : join(__dirname, '..', '..', 'sandbox', 'page')
}

const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const safeHeaders: RequestHandler = (_req, res, next) => {
  res.set({
    'content-security-policy': policy,
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
  })
  next()
}

/** Pages of other sites in the same browser must not answer calls or empty the inbox. */
const refuseOtherSites: RequestHandler = (req, _res, next) => {
  if (req.headers['sec-fetch-site'] !== 'cross-site' || req.method === 'GET') return next()
  throw new Problem(403, 'FORBIDDEN', 'Another site may not use the sandbox.')
}
