import { existsSync } from 'node:fs'
import { idOfKey, keyMatches } from '../codes/api-key'
import type { Environment } from '../core/requests/state'
import { makeKeyFile } from '../codes/key-file'
import { type ApiKey, createApiKey, findApiKey, raiseQuota, revokeKey } from '../db/apps/api-keys'
import { createApp } from '../db/apps/apps'
import { hasRecipients } from '../db/recipients/recipients'
import { createDatabase } from '../db'
import type { Database } from '../db'
import type { Variables } from './dotenv'

const app = { id: 'demo', name: 'Demo', brand: 'otpilot' }

interface WantedKey {
  /** Null: an operator's. */
  appId: string | null
  environment: Environment
  scopes: string[]
  publishable?: boolean
  requestsPerMinute?: number
}

/** The keys of a development system, by the variable that holds each (design.md section 7). */
const wantedKeys: Record<string, WantedKey> = {
  OTP_API_KEY: {
    appId: app.id,
    environment: 'staging',
    scopes: ['send', 'verify', 'read'],
    // A load test has to find the service's limits, not this key's.
    requestsPerMinute: 1_000_000,
  },
  OTPILOT_LIVE_KEY: {
    appId: app.id,
    environment: 'production',
    scopes: ['send', 'verify', 'read'],
  },
  OTPILOT_ADMIN_KEY: { appId: null, environment: 'staging', scopes: ['admin'] },
  OTPILOT_PUBLISHABLE_KEY: {
    appId: app.id,
    environment: 'staging',
    scopes: ['send', 'verify'],
    publishable: true,
  },
}

const keyOf = async (db: Database, text: string): Promise<ApiKey | undefined> => {
  const id = idOfKey(text)
  const known = id === undefined ? undefined : await findApiKey(db, id)
  return known?.usable && keyMatches(text, known.digest) ? known : undefined
}

/** The key that is there already, if it works and is of the kind wanted, else a new one in its place. */
const keyFor = async (db: Database, wanted: WantedKey, text = ''): Promise<string> => {
  const old = await keyOf(db, text)
  const isWanted = old && (wanted.appId === null) === (old.app === null)
  if (isWanted) {
    if (wanted.requestsPerMinute !== undefined)
      await raiseQuota(db, old.id, wanted.requestsPerMinute)
    return text
  }
  // An earlier version made the demo app's own administrator of what is an operator's key now.
  if (old) await revokeKey(db, old.id)
  return (await createApiKey(db, { name: 'npm start', ...wanted })).key
}

/** Makes the demo app and the keys that `known` does not hold or the database does not know; gives them all. */
export const seed = async (
  databaseUrl: string,
  { keysFile, known }: { keysFile: string; known: Variables },
): Promise<Variables> => {
  const db = createDatabase(databaseUrl, { max: 1, applicationName: 'otpilot start', named: false })
  try {
    if (!existsSync(keysFile)) {
      if (await hasRecipients(db)) {
        throw new Error(
          `The key file ${keysFile} is gone, and the database holds data that only its keys can read. Put it back, or name another database or data folder.`,
        )
      }
      makeKeyFile(keysFile, 'development')
    }
    await createApp(db, app)
    const keys: Variables = {}
    for (const [variable, wanted] of Object.entries(wantedKeys))
      keys[variable] = await keyFor(db, wanted, known[variable])
    return keys
  } finally {
    await db.close()
  }
}
