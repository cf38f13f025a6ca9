import type { Environment } from '../../core/requests/state'
import { createApiKey } from '../../db/apps/api-keys'
import { createApp } from '../../db/apps/apps'
import { clientOf } from './client'
import { type Answer, startReceiver } from './receiver'
import { startSystem } from './system'

/** What a hook answers. */
export const says = (body: unknown, more: Answer = {}): Answer => ({
  body: JSON.stringify(body),
  ...more,
})

export const hookPath = '/admin/pre-send-hook'

/** A system, and a service that its apps' pre-send hooks are at; it allows every send unless told otherwise. */
export async function startHooked() {
  const system = await startSystem({ trustProxy: { hops: 1 } })
  const allows = () => says({ action: 'allow' })
  const receiver = await startReceiver(allows)
  const operator = clientOf(system, system.operatorKey)
  let lastApp = 0
  /** An app of its own; its calls are those with its path. */
  const appWithHook = async (
    given: { on_failure?: 'allow' | 'deny' | 'challenge'; url?: string } = {},
  ) => {
    const app = `hooked-${++lastApp}`
    await createApp(system.db, { id: app, name: app })
    const keyFor = async (environment: Environment, scopes = ['send', 'verify', 'read']) =>
      (await createApiKey(system.db, { appId: app, environment, scopes })).key
    const { body } = await operator.call<{ secret: string }>('PUT', hookPath, {
      app_id: app,
      url: `${receiver.url}/${app}`,
      on_failure: 'allow',
      ...given,
    })
    return {
      app,
      keyFor,
      secret: body.secret,
      client: clientOf(system, await keyFor('staging')),
      calls: () => receiver.received.filter((call) => call.path === `/${app}`),
    }
  }
  return {
    system,
    receiver,
    operator,
    appWithHook,
    allowAll: () => receiver.answer(allows),
    stop: async () => {
      await receiver.close()
      await system.stop()
    },
  }
}
export type Hooked = Awaited<ReturnType<typeof startHooked>>

/** An answer in two words. */
export const inWords = ({ status, body }: { status: number; body: { error_code?: unknown } }) =>
  [status, body.error_code].filter(Boolean).join(' ')
