import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import { Command } from 'commander'
import { addListCommands } from '../../cli/commands/lists'
import { addTestNumberCommands } from '../../cli/commands/test-numbers'
import { createDatabase, type Database } from '../../db'
import { createApp } from '../../db/apps/apps'
import { freshDatabase } from '../harness/database'
import { tempKeyFile } from '../harness/seed'

const file = tempKeyFile()
const given = process.env.DATABASE_URL
let db: Database
let drop: () => Promise<void>

beforeAll(async () => {
  const fresh = await freshDatabase()
  drop = fresh.drop
  process.env.DATABASE_URL = fresh.url
  db = createDatabase(fresh.url)
  await createApp(db, { id: 'shop', name: 'Shop', defaultCountry: 'GH' })
})
afterAll(async () => {
  if (given === undefined) delete process.env.DATABASE_URL
  else process.env.DATABASE_URL = given
  await db.close()
  await drop()
})

/** What a command says on standard output. */
async function otpilot(...words: string[]): Promise<string> {
  const program = new Command('otpilot').exitOverride()
  addListCommands(program)
  addTestNumberCommands(program)
  let out = ''
  const spies = [
    jest.spyOn(console, 'log').mockImplementation((line: string) => void (out += `${line}\n`)),
    jest.spyOn(console, 'error').mockImplementation(() => undefined),
  ]
  const takesKeys = !words.includes('remove')
  try {
    await program.parseAsync([...words, ...(takesKeys ? ['--file', file] : [])], { from: 'user' })
  } finally {
    for (const spy of spies) spy.mockRestore()
  }
  return out
}

test('lists: add, show, remove', async () => {
  const global = JSON.parse(
    await otpilot('lists', 'add', 'block', 'prefix', '+233900', '--note', 'a report', '--json'),
  ) as { entry_id: string }
  expect(global).toMatchObject({ app_id: null, value: '+233900', note: 'a report' })
  const number = ['phone_number', '024 123 4567', '--app', 'shop']
  await otpilot('lists', 'add', 'allow', ...number, '--expires', '2099-01-01T00:00:00Z')
  const shown = await otpilot('lists', 'list', '--app', 'shop')
  expect(shown).toMatch(/allow +phone_number +\+23324123\*{4} +2099-01-01/)
  expect(shown).not.toContain('+233900')
  expect(await otpilot('lists', 'list')).toMatch(/block +prefix +\+233900 +removed +a report/)
  await otpilot('lists', 'remove', global.entry_id)
  expect(await otpilot('lists', 'list')).not.toContain('+233900')
  await expect(otpilot('lists', 'remove', global.entry_id)).rejects.toThrow('There is no entry')
})

test('numbers are read as the API reads them, for the app', async () => {
  await createApp(db, { id: 'negozio', name: 'Negozio', defaultCountry: 'IT' })
  // A Belgian landline begins so too, which is not sent to.
  await otpilot('lists', 'add', 'block', 'phone_number', '３２６ 066 0289', '--app', 'negozio')
  expect(await otpilot('lists', 'list', '--app', 'negozio')).toMatch(
    /phone_number +\+39326066\*{4}/,
  )
  await otpilot('test-numbers', 'add', 'negozio', '\u202a326 066 0290\u202c', '246810')
  expect(await otpilot('test-numbers', 'list', 'negozio')).toContain('+393260660290')
})

test.each([
  [['lists', 'add', 'forbid', 'prefix', '+233'], 'verdict'],
  [['lists', 'add', 'block', 'prefix', '233'], '+23324'],
  [['lists', 'add', 'block', 'country', 'GH', '--app', 'nobody'], 'There is no app "nobody"'],
  [['lists', 'add', 'block', 'country', 'GH', '--expires', 'tomorrow'], 'RFC 3339'],
  [['test-numbers', 'add', 'nobody', '+233241234567', '123456'], 'There is no app "nobody"'],
  [['test-numbers', 'add', 'shop', '+233241234567', '12345'], 'must be 6 characters'],
])('%j is refused: %s', async (words, says) => {
  await expect(otpilot(...words)).rejects.toThrow(says)
})

test('test numbers: add, show, remove', async () => {
  const added = JSON.parse(
    await otpilot('test-numbers', 'add', 'shop', '0241234567', '246810', '--json'),
  ) as { test_number_id: string }
  expect(await otpilot('test-numbers', 'list', 'shop')).toMatch(/\+233241234567 +246810/)
  await otpilot('test-numbers', 'remove', added.test_number_id)
  expect(JSON.parse(await otpilot('test-numbers', 'list', 'shop', '--json'))).toEqual([])
})
