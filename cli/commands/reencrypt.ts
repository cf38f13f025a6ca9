import { setTimeout as pause } from 'node:timers/promises'
import { type Command, InvalidArgumentError } from 'commander'
import { readKeyFile } from '../../codes/key-file'
import { keyStates } from '../../codes/key-rotation'
import { reencrypt } from '../../db/upkeep/reencrypt'
import type { Reencrypted, Stuck } from '../../db/upkeep/reencrypt-rows'
import { withDatabase } from './connection'
import { fileOption, usualKeyFile, withKeys } from './key-file'

/** Beside the minute in which every process reads a new key: clocks that disagree. */
const skewMs = 5_000
const progressEveryMs = 1_000
const reasons: Record<Stuck['why'], string> = {
  unreadable: 'cannot be opened with the key it names.',
  twin: 'its address has another row, under the new key.',
}

const batchSize = (text: string): number => {
  const size = Number(text)
  if (Number.isInteger(size) && size >= 1 && size <= 5_000) return size
  throw new InvalidArgumentError('Say a number from 1 to 5000.')
}

export const addReencryptCommand = (program: Command): void => {
  program
    .command('reencrypt')
    .description('moves what is stored under replaced phone and index keys to the active ones')
    .option(...fileOption, usualKeyFile())
    .option('--batch <rows>', 'rows a transaction moves', batchSize, 500)
    .action(({ file, batch }: { file: string; batch: number }) =>
      withDatabase(async (db) => {
        await untilInUse(file)
        const onMoved = createProgress().add
        const { moved, left, stuck } = await withKeys(file, (keyring) =>
          reencrypt(db, keyring, { batch, onMoved }),
        )
        console.log(`Moved ${moved} rows; ${left} are left under older keys.`)
        for (const { kind, id, why } of stuck) console.log(`${kind} ${id}: ${reasons[why]}`)
        if (left > 0) process.exitCode = 1
      }),
    )
}

/** A key that is not in use yet would not be moved to. */
async function untilInUse(file: string): Promise<void> {
  const waiting = keyStates(readKeyFile(file, { strict: false })).filter(
    ({ purpose, state }) =>
      state === 'waiting' && (purpose === 'phones' || purpose === 'app_index'),
  )
  const from = Math.max(0, ...waiting.map(({ usedFrom }) => usedFrom.getTime()))
  const waitMs = from + skewMs - Date.now()
  if (waiting.length === 0 || waitMs <= 0) return
  console.log(`Waiting until ${new Date(from).toISOString()}, when the new keys come into use.`)
  await pause(waitMs)
}

function createProgress() {
  const counts: Record<Reencrypted, number> = {
    recipients: 0,
    requests: 0,
    endpoints: 0,
    hooks: 0,
    lists: 0,
    test_numbers: 0,
  }
  let toldAt = Date.now()
  return {
    add: (kind: Reencrypted, count: number): void => {
      counts[kind] += count
      if (Date.now() - toldAt < progressEveryMs) return
      toldAt = Date.now()
      const { recipients, requests, endpoints } = counts
      console.log(`${recipients} recipients, ${requests} requests, ${endpoints} endpoints so far`)
    },
  }
}
