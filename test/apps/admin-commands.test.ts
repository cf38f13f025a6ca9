import { execFile } from 'node:child_process'
import { resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { Command } from 'commander'
import { sql } from 'drizzle-orm'
import { KeyAnswer, MadeKeyAnswer } from '../../api/contract/admin'
import { idOfKey, keyMatches } from '../../codes/api-key'
import { addAppCommands } from '../../cli/commands/apps'
import { addKeyCommands } from '../../cli/commands/keys'
import { addTemplateCommands } from '../../cli/commands/templates'
import { createDatabase, type Database } from '../../db'
import { findApiKey } from '../../db/apps/api-keys'
import { freshDatabase } from '../harness/database'

const root = resolve(__dirname, '..', '..')
let db: Database
let drop: () => Promise<void>
const given = process.env.DATABASE_URL

beforeAll(async () => {
  const fresh = await freshDatabase()
  drop = fresh.drop
  process.env.DATABASE_URL = fresh.url
  db = createDatabase(fresh.url)
})
afterAll(async () => {
  if (given === undefined) delete process.env.DATABASE_URL
  else process.env.DATABASE_URL = given
  await db.close()
  await drop()
})

interface Ran {
  code: number
  out: string
  err: string
}

/** As a program of its own. */
const spawned = (...words: string[]) =>
  new Promise<Ran>((done) =>
    execFile(
      process.execPath,
      ['--import', 'tsx', 'cli/otpilot.ts', ...words],
      { cwd: root, env: process.env },
      (error, out, err) => done({ code: error ? Number(error.code) : 0, out, err }),
    ),
  )

/** The same commands in this process, which starts in no time. */
const otpilot = async (...words: string[]): Promise<Ran> => {
  const ran = { code: 0, out: '', err: '' }
  const program = new Command('otpilot')
    .exitOverride()
    .configureOutput({ writeErr: (text) => void (ran.err += text) })
  addAppCommands(program)
  addKeyCommands(program)
  addTemplateCommands(program)
  const spies = [
    jest.spyOn(console, 'log').mockImplementation((line: string) => void (ran.out += `${line}\n`)),
    jest
      .spyOn(console, 'error')
      .mockImplementation((line: string) => void (ran.err += `${line}\n`)),
  ]
  try {
    await program.parseAsync(words, { from: 'user' })
  } catch (error) {
    ran.code = 1
    ran.err += error instanceof Error ? error.message : String(error)
  } finally {
    for (const spy of spies) spy.mockRestore()
  }
  return ran
}

const ok = async (...words: string[]) => {
  const ran = await otpilot(...words)
  expect([words, ran.err, ran.code]).toEqual([words, ran.err, 0])
  return ran
}
/** What is refused leaves nothing on standard output, and says why. */
const refused = async (...words: string[]) => {
  const { code, out, err } = await otpilot(...words)
  expect([words, code, out]).toEqual([words, 1, ''])
  return err.trim()
}

describe('otpilot apps', () => {
  test('makes, changes and lists apps', async () => {
    const { out, err } = await ok('apps', 'create', 'shop', '--default-country', 'GH')
    expect([out, err.trim()]).toEqual(['', 'Made the app shop.'])
    await ok('apps', 'set', 'shop', '--code-length', '8', '--queue-when-down', 'on')
    const pages = await ok('apps', 'set', 'shop', '--page-channels', 'sms,whatsapp', '--json')
    expect(JSON.parse(pages.out)).toMatchObject({ page_channels: ['sms', 'whatsapp'] })
    const set = await ok('apps', 'set', 'shop', '--default-country', 'none', '--json')
    expect(set.err.trim()).toBe('Changed default_country of the app shop.')
    expect(JSON.parse(set.out)).toMatchObject({
      ...{ app_id: 'shop', name: 'shop', code_length: 8, queue_when_down: true },
      default_country: null,
    })
    expect((await ok('apps', 'list')).out.trim().split('\n')).toEqual([
      'APP   NAME  COUNTRY  CODES     LIFE   REGION',
      'shop  shop  -        8 digits  300 s  -',
    ])
    const trail = await db.many(sql`select type, actor from audit_events where chain = 'app:shop'`)
    expect(trail).toEqual([
      { type: 'app_created', actor: 'cli' },
      ...Array.from({ length: 3 }, () => ({ type: 'app_changed', actor: 'cli' })),
    ])
  })

  test('nothing in a name acts on the terminal', async () => {
    const name = 'red\u001b[31m\u202e\u2028'
    await db.many(sql`insert into apps (id, name, brand) values ('odd', ${name}, 'Odd')`)
    const { out } = await ok('apps', 'list')
    expect(out).toContain('red\\u{1b}[31m\\u{202e}\\u{2028}  ')
  })

  test('a list that is cut says so', async () => {
    expect((await ok('apps', 'list')).err).toBe('')
    await db.many(sql`insert into apps (id, name, brand)
      select 'z' || n, 'Many', 'Many' from generate_series(1, 10000) n`)
    const { out, err } = await ok('apps', 'list', '--json')
    expect(JSON.parse(out)).toHaveLength(10_000)
    expect(err.trim()).toBe('There are more: these are the first 10000.')
  })

  test('refuses what cannot be, in a sentence', async () => {
    expect(await refused('apps', 'create', 'Shop!')).toMatch(/^app: lower-case letters/)
    expect(await refused('apps', 'set', 'shop', '--code-length', '5')).toMatch(/^code-length: /)
    expect(await refused('apps', 'set', 'shop', '--code-length', 'six')).toMatch(/whole number/)
    expect(await refused('apps', 'set', 'shop', '--consent-required', 'maybe')).toMatch(/on or off/)
    expect(await refused('apps', 'set', 'shop')).toMatch(/^Name a setting/)
    expect(await refused('apps', 'set', 'nobody', '--name', 'x')).toBe('There is no app "nobody".')
    expect(await refused('apps', 'create', 'shop')).toMatch(/^There is an app "shop" already/)
  })
})

describe('otpilot keys', () => {
  test('makes, lists, rotates and revokes keys', async () => {
    const made = await ok(...'keys create --app shop --environment staging --name till'.split(' '))
    const key = made.out.trim()
    const id = idOfKey(key) ?? ''
    expect(made.err).toContain(`key ${id} of the app shop (staging: send, verify, read)`)
    expect(made.err).not.toContain(key)
    const stored = await findApiKey(db, id)
    expect(stored && keyMatches(key, stored.digest)).toBe(true)

    const rotated = await ok('keys', 'rotate', id, '--overlap-seconds', '60', '--json')
    const next = MadeKeyAnswer.parse(JSON.parse(rotated.out))
    expect(next).toMatchObject({ replaces: id, name: 'till', state: 'active' })
    expect(await refused('keys', 'rotate', next.key_id)).toMatch(/^Two keys of this line/)
    expect((await ok('keys', 'revoke', id)).err).toContain(`Revoked the key ${id} of the app shop`)
    expect((await findApiKey(db, id))?.usable).toBe(false)
    expect(await refused('keys', 'rotate', id)).toMatch(/is over/)

    const { out } = await ok('keys', 'list', '--json')
    const listed = KeyAnswer.array().parse(JSON.parse(out))
    expect(listed.map(({ key_id, state }) => [key_id, state])).toEqual([
      [next.key_id, 'active'],
      [id, 'revoked'],
    ])
    const table = (await ok('keys', 'list', '--app', 'shop', '--state', 'active')).out
    expect(table.trim().split('\n')).toHaveLength(2)
    expect(table).toMatch(new RegExp(`^KEY ID .*\n${next.key_id}  shop  till `))
    expect(out + table).not.toContain(key.slice(-38))
  })

  test('makes an operator’s key; a script reads it from standard output', async () => {
    const { code, out, err } = await spawned('keys', 'create', '--operator')
    expect([code, err]).toEqual([
      0,
      expect.stringMatching(/^Made the key \w+ of an operator .*:\n$/),
    ])
    expect(out).toMatch(/^otpk_operator_\w+\n$/)
    expect(await findApiKey(db, idOfKey(out.trim()) ?? '')).toMatchObject({
      ...{ app: null, scopes: ['admin'], environment: 'production', usable: true },
    })
  })

  test('makes a publishable key', async () => {
    const words = 'keys create --app shop --environment production --publishable'.split(' ')
    const { out } = await ok(...words, '--expires-in-days', '30', '--requests-per-minute', '100')
    expect(await findApiKey(db, idOfKey(out.trim()) ?? '')).toMatchObject({
      ...{ scopes: ['send', 'verify'], publishable: true, requestsPerMinute: 100 },
    })
  })

  test('refuses what cannot be, in a sentence', async () => {
    const create = ['keys', 'create', '--environment', 'staging']
    expect(await refused(...create)).toMatch(/^Say whom the key is for/)
    expect(await refused(...create, '--app', 'shop', '--operator')).toMatch(/not both/)
    expect(await refused(...create, '--app', 'nobody')).toMatch(/^There is no app "nobody"/)
    expect(await refused('keys', 'create', '--app', 'shop')).toMatch(/^environment: /)
    expect(await refused(...create, '--app', 'shop', '--scopes', 'send,root')).toMatch(/^scopes: /)
    const publishable = [...create, '--app', 'shop', '--publishable', '--scopes', 'read']
    expect(await refused(...publishable)).toMatch(/^scopes: a publishable key/)
    const past = await refused(...create, '--app', 'shop', '--expires-at', '2020-01-01T00:00:00Z')
    expect(past).toMatch(/^expires_at: must be in the future/)
    expect(await spawned('keys', 'revoke', 'aaaaaaaaaaaa')).toEqual({
      ...{ code: 1, out: '', err: 'There is no key aaaaaaaaaaaa.\n' },
    })
    expect(await refused('keys', 'revoke', `otpk_live_aaaaaaaaaaaa_${'a'.repeat(38)}`)).toMatch(
      /^Give the id of the key, not the key/,
    )
  })
})

describe('otpilot templates', () => {
  test('sets, lists and takes back what an app says, and tells its author what to look at', async () => {
    await ok('apps', 'create', 'duka', '--autofill-domain', 'duka.example')
    const templates = (...words: string[]) => ok('templates', ...words)
    const set = await templates(
      'set',
      'duka',
      'sms',
      'FR-ci',
      '--text',
      'Code {{code}} ç',
      '--json',
    )
    expect(JSON.parse(set.out)).toMatchObject({ channel: 'sms', locale: 'fr-CI', revision: 1 })
    expect(set.err.trim().split('\n')).toEqual([
      'Set what duka says by sms in fr-CI.',
      'Look at it: text does not say who sends the code.',
      'Look at it: text does not tell people to keep the code to themselves.',
      'Look at it: text has characters that GSM-7 lacks (ç): 70 fit into a part, and not 160.',
    ])
    expect((await templates('list', 'duka')).out.trim().split('\n')).toEqual([
      'CHANNEL  LOCALE  TEXT',
      'sms      fr-CI   Code {{code}} ç',
    ])
    expect((await templates('delete', 'duka', 'sms', 'fr-CI')).err.trim()).toBe('Taken back.')
    expect((await templates('delete', 'duka', 'sms', 'fr-CI')).err.trim()).toBe('There was none.')
    expect(JSON.parse((await templates('list', 'duka', '--json')).out)).toEqual([])
  })

  test('refuses what cannot be one', async () => {
    const set = (...words: string[]) => refused('templates', 'set', ...words)
    expect(await set('shop', 'sms', 'en', '--text', 'Hello')).toBe('text must hold {{code}}.')
    expect(await set('shop', 'sms', 'en', '--text', '{{code}}', '--subject', 'S')).toBe(
      'subject is for the channel email only.',
    )
    expect(await set('shop', 'pigeon', 'en', '--text', '{{code}}')).toContain('channel: ')
    expect(await set('shop', 'sms', 'x-private', '--text', '{{code}}')).toContain('locale: ')
    expect(await set('nobody', 'sms', 'en', '--text', '{{code}}')).toBe('There is no app "nobody".')
  })
})
