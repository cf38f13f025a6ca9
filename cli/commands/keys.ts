import type { Command } from 'commander'
import { environments } from '../../core/requests/state'
import {
  type ApiKeyView,
  createApiKey,
  listKeys,
  type MadeKey,
  revokeKey,
  rotateKey,
} from '../../db/apps/api-keys'
import { findApp } from '../../db/apps/apps'
import { KeyBody, keyId, KeysQuery, RotationBody } from '../../api/contract/admin'
import { usualOverlap } from '../../api/routes/admin/keys'
import { keyAnswerOf, madeKeyAnswerOf, newKeyOf } from '../../api/routes/admin/translate'
import { withDatabase } from './connection'
import { checked, wholeNumber, words } from './options'
import { mostListed, printJson, printTable, say, shownOf } from './print'

interface CreateOptions {
  app?: string
  operator?: true
  environment?: string
  scopes?: string[]
  name?: string
  publishable?: true
  expiresInDays?: number
  expiresAt?: string
  requestsPerMinute?: number
  json?: true
}

export const addKeyCommands = (program: Command): void => {
  const keys = program.command('keys').description('API keys of apps and of operators')

  keys
    .command('create')
    .description('makes an API key and prints it, this once')
    .option('--app <app>', 'the app it is for')
    .option('--operator', 'administers every app instead, and can do nothing else')
    .option('--environment <environment>', environments.join(', '))
    .option('--scopes <scopes>', 'comma-separated: send,verify,read,admin', words)
    .option('--name <name>', 'to tell it from others')
    .option('--publishable', 'for browsers and mobile apps; scopes within send,verify')
    .option('--expires-in-days <n>', 'from now', wholeNumber)
    .option('--expires-at <time>', 'such as 2027-01-31T00:00:00Z')
    .option('--requests-per-minute <n>', 'over all processes; 6000 when absent', wholeNumber)
    .option('--json', 'print JSON')
    .action((options: CreateOptions) =>
      withDatabase(async (db) => {
        const body = checked(KeyBody, fieldsOf(options))
        const appId = body.app_id ?? null
        if (appId !== null && !(await findApp(db, appId)))
          throw new Error(`There is no app "${appId}"; "apps create ${appId}" makes it.`)
        const made = await createApiKey(db, { ...newKeyOf(body), appId })
        reportMade(made, options, `Made ${described(made)}. The key, shown this once:`)
      }),
    )

  keys
    .command('list')
    .description('shows keys, newest first; none of them can be read back')
    .option('--app <app>', 'of this app only')
    .option('--state <state>', 'active, expired, revoked')
    .option('--json', 'print JSON')
    .action((options: { app?: string; state?: string; json?: true }) =>
      withDatabase(async (db) => {
        const { app_id: appId, state } = checked(KeysQuery, {
          app_id: options.app,
          state: options.state,
        })
        const all = shownOf(await listKeys(db, { appId, state, limit: mostListed + 1 }))
        if (options.json) return printJson(all.map(keyAnswerOf))
        printTable(
          ['KEY ID', 'APP', 'NAME', 'ENVIRONMENT', 'SCOPES', 'STATE', 'EXPIRES', 'LAST USED'],
          all.map(rowOf),
        )
      }),
    )

  addChangeCommands(keys)
}

const addChangeCommands = (keys: Command): void => {
  keys
    .command('rotate')
    .description('makes a key with the same rights; the old one goes on for a while')
    .argument('<key_id>', 'the twelve characters after otpk_live_, otpk_test_ or otpk_operator_')
    .option('--overlap-seconds <n>', `how long; ${usualOverlap} when absent`, wholeNumber)
    .option('--json', 'print JSON')
    .action((text: string, options: { overlapSeconds?: number; json?: true }) =>
      withDatabase(async (db) => {
        const id = idOf(text)
        const body = checked(RotationBody, { overlap_seconds: options.overlapSeconds })
        const overlapSeconds = body.overlap_seconds ?? usualOverlap
        const made = await rotateKey(db, id, { overlapSeconds })
        if (made === 'not_found') throw new Error(`There is no key ${id}.`)
        if (made === 'not_live') throw new Error(`The key ${id} is over: make a new one.`)
        if (made === 'too_many')
          throw new Error('Two keys of this line are live already: revoke one first.')
        const sentence = `Made ${described(made)}. The old one, ${id}, works for ${overlapSeconds} s at most.`
        reportMade(made, options, `${sentence} The new key, shown this once:`)
      }),
    )

  keys
    .command('revoke')
    .description('ends a key everywhere, within five seconds')
    .argument('<key_id>', 'the twelve characters after otpk_live_, otpk_test_ or otpk_operator_')
    .option('--json', 'print JSON')
    .action((text: string, { json }: { json?: true }) =>
      withDatabase(async (db) => {
        const id = idOf(text)
        const revoked = await revokeKey(db, id)
        if (!revoked) throw new Error(`There is no key ${id}.`)
        say(`Revoked ${described(revoked)}; no process takes it five seconds from now.`)
        if (json) printJson(keyAnswerOf(revoked))
      }),
    )
}

const fieldsOf = (options: CreateOptions) => {
  if (options.operator && options.app !== undefined)
    throw new Error('Give --app or --operator, not both: an operator’s key belongs to no app.')
  if (!options.operator && options.app === undefined)
    throw new Error('Say whom the key is for: --app <app>, or --operator.')
  return {
    app_id: options.operator ? null : options.app,
    environment: options.environment ?? (options.operator ? 'production' : undefined),
    scopes: options.scopes ?? (options.operator ? ['admin'] : defaultScopes(options)),
    name: options.name,
    publishable: options.publishable,
    expires_in_days: options.expiresInDays,
    expires_at: options.expiresAt,
    requests_per_minute: options.requestsPerMinute,
  }
}

const defaultScopes = ({ publishable }: CreateOptions) =>
  publishable ? ['send', 'verify'] : ['send', 'verify', 'read']

const idOf = (text: string): string => {
  const { success, data } = keyId.safeParse(text)
  if (success) return data
  // A command line is seen by others on the machine, and kept in a history.
  throw new Error(
    'Give the id of the key, not the key: the twelve characters after otpk_live_, otpk_test_ or otpk_operator_.',
  )
}

const described = ({
  id,
  appId,
  environment,
  scopes,
  publishable,
  expiresAt,
}: ApiKeyView): string => {
  const kind = publishable ? 'publishable key' : 'key'
  const whose = appId === null ? 'of an operator' : `of the app ${appId}`
  const until = expiresAt ? `, until ${expiresAt.toISOString()}` : ''
  return `the ${kind} ${id} ${whose} (${environment}: ${scopes.join(', ')}${until})`
}

const reportMade = (made: MadeKey, { json }: { json?: true }, sentence: string): void => {
  say(sentence)
  if (json) printJson(madeKeyAnswerOf(made))
  else console.log(made.key)
}

const rowOf = (key: ApiKeyView): string[] => [
  key.id,
  key.appId ?? '(operator)',
  key.name || '-',
  key.environment,
  `${key.scopes.join(',')}${key.publishable ? ' (publishable)' : ''}`,
  key.state,
  key.expiresAt?.toISOString().slice(0, 16) ?? '-',
  key.lastUsedAt?.toISOString().slice(0, 16) ?? '-',
]
