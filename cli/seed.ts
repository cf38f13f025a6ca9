import { existsSync } from 'node:fs'
import { sql } from 'drizzle-orm'
import { idOfKey, keyMatches } from '../codes/api-key'
import type { Environment } from '../core/state'
import { makeKeyFile } from '../codes/key-file'
import { createApiKey, createApp, findApiKey } from '../db/apps'
import { createDatabase } from '../db'
import type { Database } from '../db'
import type { Variables } from './dotenv'

const app = { id: 'demo', name: 'Demo', brand: 'otpilot' }

interface WantedKey {
  environment: Environment
  scopes: string[]
  publishable?: boolean
}

/** The keys of a development system, by the variable that holds each (design.md section 7). */
const wantedKeys: Record<string, WantedKey> = {
  OTP_API_KEY: { environment: 'staging', scopes: ['send', 'verify', 'read'] },
  OTPILOT_LIVE_KEY: { environment: 'production', scopes: ['send', 'verify', 'read'] },
  OTPILOT_ADMIN_KEY: { environment: 'staging', scopes: ['admin'] },
  OTPILOT_PUBLISHABLE_KEY: {
    environment: 'staging',
    scopes: ['send', 'verify'],
    publishable: true,
  },
}

const stillWorks = async (db: Database, key: string): Promise<boolean> => {
  const id = idOfKey(key)
  if (id === undefined) return false
  const known = await findApiKey(db, id)
  return known !== undefined && known.usable && keyMatches(key, known.digest)
}

/** Whether somebody's number is stored: new keys would make it unreadable, silently. */
const holdsData = async (db: Database): Promise<boolean> =>
  (await db.one(sql`select from recipients limit 1`)) !== undefined

/** Makes the demo app and the keys that `known` does not hold or the database does not know; gives them all. */
export const seed = async (
  databaseUrl: string,
  { keysFile, known }: { keysFile: string; known: Variables },
): Promise<Variables> => {
  const db = createDatabase(databaseUrl, { max: 1, applicationName: 'otpilot start' })
  try {
    if (!existsSync(keysFile)) {
      if (await holdsData(db)) {
        throw new Error(
          `The key file ${keysFile} is gone, and the database holds data that only its keys can read. Put it back, or name another database or data folder.`,
        )
      }
      makeKeyFile(keysFile)
    }
    await createApp(db, app)
    const keys: Variables = {}
    for (const [variable, wanted] of Object.entries(wantedKeys)) {
      const old = known[variable]
      keys[variable] =
        old !== undefined && (await stillWorks(db, old))
          ? old
          : (await createApiKey(db, { appId: app.id, ...wanted })).key
    }
    return keys
  } finally {
    await db.close()
  }
}
