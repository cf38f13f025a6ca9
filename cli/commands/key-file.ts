import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import { makeKeyFile, openKeyFile, readKeyFile } from '../../codes/key-file'
import { addKeys, dropKey, type KeyState, keyStates } from '../../codes/key-rotation'
import { type KeyPurpose, keyPurposes } from '../../codes/keyring'
import { countedUpTo, type KeyUse, keyUses } from '../../db/upkeep/key-use'
import { withDatabase } from './connection'

/** The key file that the service of this environment would use. */
export const usualKeyFile = (): string =>
  process.env.OTPILOT_KEYS_FILE || join(process.env.OTPILOT_DATA_DIR || '.otpilot', 'keys.json')

export const fileOption = ['--file <file>', 'the key file; else OTPILOT_KEYS_FILE says'] as const

/** Opens a key file for as long as `work` takes. */
export const withKeys = async <T>(
  file: string,
  work: (keyring: ReturnType<typeof openKeyFile>) => T | Promise<T>,
): Promise<T> => {
  const keyring = openKeyFile(file, { strict: false })
  try {
    return await work(keyring)
  } finally {
    keyring.close()
  }
}

const purposeOf = (text: string): KeyPurpose => {
  const purpose = keyPurposes.find((known) => known === text)
  if (!purpose) throw new InvalidArgumentError(`Purposes are ${keyPurposes.join(', ')}.`)
  return purpose
}

const purposesOf = (text: string, before: KeyPurpose[] = []): KeyPurpose[] =>
  text === 'all' ? [...keyPurposes] : [...new Set([...before, purposeOf(text)])]

interface Options {
  file: string
}

export const addKeyFileCommands = (program: Command): void => {
  const keyFile = program
    .command('key-file')
    .description('makes the key file, and replaces its keys one by one while the service runs')

  keyFile
    .command('make')
    .description('writes a file of new random keys, or leaves the file that is there')
    .option(...fileOption, usualKeyFile())
    .action(({ file }: Options) => {
      if (existsSync(file)) return console.log(`${file} is there already: left as it is.`)
      makeKeyFile(file)
      console.log(`Made ${file}.`)
    })

  keyFile
    .command('add')
    .description('adds a new key to purposes; in use a minute later, in every process')
    .argument('<purposes...>', `${keyPurposes.join(', ')}, or all`, purposesOf)
    .option(...fileOption, usualKeyFile())
    .action((purposes: KeyPurpose[], { file }: Options) => {
      const { added, usedFrom } = addKeys(file, purposes)
      for (const { purpose, kid } of added)
        console.log(`${purpose} ${kid}: in use from ${usedFrom.toISOString()}`)
    })

  keyFile
    .command('status')
    .description('lists every key: since when it is in use, and what still needs it')
    .option(...fileOption, usualKeyFile())
    .action(({ file }: Options) =>
      withDatabase(async (db) => printStatus(file, await usesIn(db, file))),
    )

  keyFile
    .command('drop')
    .description('removes a key that was replaced and that nothing needs any more')
    .argument('<purpose>', keyPurposes.join(', '), purposeOf)
    .argument('<kid>', 'as in the status')
    .option(...fileOption, usualKeyFile())
    .action((purpose: KeyPurpose, kid: string, { file }: Options) =>
      withDatabase(async (db) => {
        const rowsNaming = async () =>
          (await usesIn(db, file))
            .filter((use) => use.purpose === purpose && use.kid === kid)
            .map(inWords)
        await dropKey(file, { purpose, kid }, { rowsNaming })
        console.log(`Dropped the ${purpose} key ${kid}. Backups of its time still need it.`)
      }),
    )
}

const usesIn = (db: Parameters<typeof keyUses>[0], file: string): Promise<KeyUse[]> =>
  keyUses(
    db,
    readKeyFile(file, { strict: false }).audit.map(({ kid }) => kid),
  )

function printStatus(file: string, uses: KeyUse[]): void {
  const states = keyStates(readKeyFile(file, { strict: false }))
  const needs = (key: { purpose: KeyPurpose; kid: string }) =>
    uses
      .filter(({ purpose, kid }) => purpose === key.purpose && kid === key.kid)
      .map(inWords)
      .join(', ') || 'no rows'
  for (const state of states) console.log(`${label(state)}  ${inUse(state)}; ${needs(state)}`)
  const isKnown = (use: KeyUse) =>
    states.some(({ purpose, kid }) => purpose === use.purpose && kid === use.kid)
  for (const use of uses.filter((use) => !isKnown(use)))
    console.log(`${label(use)}  not in the file, but named by ${inWords(use)}`)
}

const label = ({ purpose, kid }: { purpose: KeyPurpose; kid: string }) =>
  `${purpose.padEnd(12)}  ${kid.padEnd(8)}`

const inWords = ({ rows, what }: KeyUse) =>
  `${rows === countedUpTo ? `${countedUpTo} or more` : rows} ${what}`

function inUse({ state, usedFrom, replacedAt, droppableFrom }: KeyState): string {
  const since = usedFrom.getTime() === 0 ? 'the beginning' : usedFrom.toISOString()
  if (state === 'active') return `active since ${since}`
  if (!replacedAt || !droppableFrom) return `in use from ${since}`
  return `replaced at ${replacedAt.toISOString()}, to be kept until ${droppableFrom.toISOString()}`
}
