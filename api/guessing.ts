import type { Logger } from 'pino'
import { codeLengths, guessing } from '../core/limits'
import type { Environment } from '../core/requests/state'
import type { App } from '../db/apps/apps'
import { alertGuessing, type Guessed, sumGuesses } from '../db/verify/guessing'
import type { Database } from '../db/index'

/** The sum is taken this often at most, and seldom enough to be busy with it a small part of the time. */
const freshMs = 5_000
const shareOfTime = 20

export interface Guessing {
  /** Characters of an app's next code: longer ones while too many wrong ones are tried across the app. */
  codeLength(app: App, environment: Environment): Promise<number>
  /** To be called after a wrong check; raises the alarm in time. Never throws, nobody waits for it. */
  noticeWrong(): void
}

/** Watches over guessing at many recipients, which no budget of one recipient meets. One a process. */
export function createGuessing({ db, logger }: { db: Database; logger: Logger }): Guessing {
  let known: Guessed[] | undefined
  let nextAt = 0
  let reading: Promise<void> | undefined
  const quietUntil = new Map<string, number>()

  const read = async () => {
    const since = performance.now()
    try {
      known = await sumGuesses(db)
      await raise(known)
    } catch (error) {
      logger.warn({ err: error }, 'wrong checks could not be summed')
    } finally {
      const now = performance.now()
      nextAt = now + Math.max(freshMs, (now - since) * shareOfTime)
      reading = undefined
    }
  }
  const refresh = () => {
    if (performance.now() >= nextAt) reading ??= read()
    return reading
  }

  const raise = async (sums: Guessed[]) => {
    for (const { appId, environment, expected } of [...sums, ...overApps(sums)]) {
      if (expected < guessing.alertAt) continue
      const level = expected >= guessing.lengthenAt ? 'high' : 'warn'
      const name = `${appId} ${environment} ${level}`
      // The database decides; this only spares it the question.
      if ((quietUntil.get(name) ?? 0) > Date.now()) continue
      quietUntil.set(name, Date.now() + 60_000)
      await alertGuessing(db, { appId, environment, expected, level })
    }
  }

  return {
    async codeLength({ id, codeLength, lengthenUnderGuessing }, environment) {
      if (!lengthenUnderGuessing) return codeLength
      const first = refresh()
      if (known === undefined) await first
      // Nothing could be summed since this process started: codes that are too long annoy, ones too short are guessed.
      if (known === undefined) return lengthened(codeLength)
      const sums = known
      const own = sums.find((sum) => sum.appId === id && sum.environment === environment)
      const all = overApps(sums).find((sum) => sum.environment === environment)
      const tooMany =
        (own?.expected ?? 0) >= guessing.lengthenAt ||
        // Spread over all apps it counts too, but only for those that are guessed at themselves.
        ((all?.expected ?? 0) >= guessing.lengthenAt && (own?.expected ?? 0) >= guessing.alertAt)
      return tooMany ? lengthened(codeLength) : codeLength
    },
    noticeWrong: () => void refresh(),
  }
}

const lengthened = (codeLength: number) => Math.min(codeLength + guessing.longerBy, codeLengths.max)

/** The whole installation, environment by environment. */
const overApps = (sums: readonly Guessed[]) =>
  [...Map.groupBy(sums, ({ environment }) => environment)].map(([environment, group]) => ({
    appId: null,
    environment,
    expected: group.reduce((sum, { expected }) => sum + expected, 0),
  }))
