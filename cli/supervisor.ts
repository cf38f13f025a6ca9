import { setTimeout as sleep } from 'node:timers/promises'
import { signal } from './processes'
import type { Running } from './processes'

export interface Service extends Running {
  stop: () => Promise<void>
}

/** Starts a service; `born` is told of its process at once, before it answers. */
export type Start = (born: (service: Service) => void) => Promise<Service>

export interface Supervisor {
  /** Starts a service and starts it again whenever it ends. Rejects when the first start fails. */
  keep: (name: string, start: Start) => Promise<void>
  /** Stops the named services, in parallel, for good. */
  stop: (...names: string[]) => Promise<void>
  /** Kills everything at once. */
  kill: () => void
}

const firstPauseMs = 200
const longestPauseMs = 5000
/** A service that lived this long did not die of its own start. */
const settledMs = 30_000

interface Kept {
  name: string
  begin: () => Promise<Service>
  isWanted: () => boolean
  say: (sentence: string) => void
}

/** Tries until the service runs again, or is not wanted any more. */
const restart = async (kept: Kept, firstMs: number): Promise<Service | undefined> => {
  const { name, begin, isWanted, say } = kept
  for (let pauseMs = firstMs; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
    await sleep(pauseMs)
    if (!isWanted()) return undefined
    try {
      const service = await begin()
      say(`${name} runs again (pid ${service.pid}).`)
      return service
    } catch (error) {
      if (isWanted())
        say(`${name} did not start: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
}

const watch = async (kept: Kept, first: Service): Promise<void> => {
  let pauseMs = firstPauseMs
  for (let service: Service | undefined = first; service;) {
    const startedAt = Date.now()
    const reason = await service.ended
    if (!kept.isWanted()) return
    kept.say(`${kept.name} ended (${reason}); starting it again.`)
    const settled = Date.now() - startedAt > settledMs
    service = await restart(kept, settled ? firstPauseMs : pauseMs)
    pauseMs = settled ? firstPauseMs : Math.min(pauseMs * 2, longestPauseMs)
  }
}

export const createSupervisor = (
  say: (sentence: string) => void,
  remember: (pids: Record<string, number>) => void,
): Supervisor => {
  const alive = new Map<string, Service>()
  const unwanted = new Set<string>()

  const note = (name: string, service?: Service) => {
    if (service) alive.set(name, service)
    else alive.delete(name)
    try {
      remember(Object.fromEntries([...alive].map(([key, { pid }]) => [key, pid])))
    } catch (error) {
      // Needed only by a start after a kill -9 of this one; a folder that is read-only now must not end the rest.
      say(`The process ids could not be written down: ${(error as Error).message}`)
    }
  }

  const begin = async (name: string, start: Start): Promise<Service> => {
    if (unwanted.has(name)) throw new Error(`${name} is not wanted any more.`)
    try {
      return await start((service) => {
        note(name, service)
        void service.ended.then(() => alive.get(name) === service && note(name))
      })
    } catch (error) {
      note(name)
      throw error
    }
  }

  return {
    async keep(name, start) {
      const isWanted = () => !unwanted.has(name)
      const kept: Kept = { name, begin: () => begin(name, start), isWanted, say }
      void watch(kept, await kept.begin())
    },
    async stop(...names) {
      for (const name of names) unwanted.add(name)
      await Promise.all(names.map(async (name) => alive.get(name)?.stop()))
      for (const name of names) note(name)
    },
    kill() {
      for (const [name, { pid }] of alive) {
        unwanted.add(name)
        signal(pid, 'SIGKILL')
      }
      remember({})
    },
  }
}
