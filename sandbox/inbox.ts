import type { Channel } from '../core/channel'
import { sequenceOf, type Status } from './words'

/** One message as its phone or mailbox shows it; also the answer of `GET /inbox`. */
export interface Entry {
  id: string
  provider: string
  channel: Channel
  to: string
  text: string
  code: string
  /** ISO 8601. */
  at: string
  status: Status
  request_id?: string
  /** What the sender said became of the request. */
  outcome?: 'verified' | 'not_verified'
}

const maxEntries = 10_000

export type Inbox = ReturnType<typeof createInbox>

/** The newest 10,000 messages, in memory only. */
export function createInbox() {
  const byId = new Map<string, Entry>()
  const byAddress = new Map<string, Entry[]>()
  const byRequest = new Map<string, Entry[]>()

  function add(entry: Entry) {
    byId.set(entry.id, entry)
    push(byAddress, entry.to, entry)
    if (entry.request_id) push(byRequest, entry.request_id, entry)
    const oldest = byId.size > maxEntries ? byId.values().next().value : undefined
    if (!oldest) return
    byId.delete(oldest.id)
    drop(byAddress, oldest.to)
    if (oldest.request_id) drop(byRequest, oldest.request_id)
  }

  return {
    add,
    clear() {
      for (const index of [byId, byAddress, byRequest]) index.clear()
    },

    /** Newest first. */
    list: (address: string | undefined, limit: number): Entry[] =>
      (address === undefined ? [...byId.values()] : (byAddress.get(address) ?? []))
        .slice(-limit)
        .toReversed(),

    /** Late and reordered reports never take a status back. */
    advance(entry: Entry, status: Status) {
      if (sequenceOf(status) > sequenceOf(entry.status)) entry.status = status
    },

    /** @returns the request's entries, marked. */
    mark(requestId: string, outcome: Entry['outcome']): Entry[] {
      const entries = byRequest.get(requestId) ?? []
      for (const entry of entries) entry.outcome = outcome
      return entries
    },

    /** The newest entry of each address, newest first; `limit` looks at the newest 1,000 entries only. */
    recent(limit: number): Entry[] {
      const newest = new Map<string, Entry>()
      for (const entry of [...byId.values()].slice(-1_000).toReversed()) {
        if (!newest.has(entry.to)) newest.set(entry.to, entry)
        if (newest.size === limit) break
      }
      return [...newest.values()]
    },
  }
}

function push(index: Map<string, Entry[]>, key: string, entry: Entry) {
  const entries = index.get(key)
  if (entries) entries.push(entry)
  else index.set(key, [entry])
}

/** Entries leave in the order in which they came, so the oldest of all is the oldest of its key. */
function drop(index: Map<string, Entry[]>, key: string) {
  const entries = index.get(key)
  entries?.shift()
  if (entries?.length === 0) index.delete(key)
}
