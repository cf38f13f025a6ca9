import type { Response } from 'express'
import type { Entry, Inbox } from './inbox'
import type { Timers } from './timers'

const heartbeatMs = 15_000
/** A list that changes 500 times a second is drawn twice a second. */
const listPauseMs = 500

/** The pages that look at phones right now, as event streams. */
export class Phones {
  private readonly watchers = new Map<string, Set<Response>>()
  private readonly lists = new Set<Response>()
  private listDue = false

  constructor(
    private readonly inbox: Inbox,
    private readonly timers: Timers,
  ) {}

  /** Numbers and addresses that got something of late, newest first. */
  list() {
    return this.inbox.recent(50).map(({ to, channel, at }) => ({ number: to, channel, at }))
  }

  /** A page shows this number: its calls ring until somebody answers. */
  isOpen(number: string): boolean {
    return this.watchers.has(number)
  }

  openList(res: Response) {
    this.stream(res, this.lists, () => undefined)
    write([res], 'phones', this.list())
  }

  open(number: string, res: Response, phone: () => unknown, onClosed: () => void) {
    const opened = this.watchers.get(number) ?? new Set()
    this.watchers.set(number, opened)
    this.stream(res, opened, () => {
      if (opened.size > 0) return
      this.watchers.delete(number)
      onClosed()
    })
    write([res], 'phone', phone())
  }

  /** Shows a new or changed entry. */
  show(entry: Entry) {
    write(this.watchers.get(entry.to) ?? [], 'entry', entry)
    this.touchLists()
  }

  /** Shows what the phone is doing: ringing calls, a waiting USSD code. */
  showState(number: string, state: () => unknown) {
    const opened = this.watchers.get(number)
    if (opened) write(opened, 'state', state())
  }

  /** Shows every open phone anew. */
  refresh(phone: (number: string) => unknown) {
    for (const [number, opened] of this.watchers) write(opened, 'phone', phone(number))
    this.touchLists()
  }

  close() {
    const opened = [...this.lists, ...[...this.watchers.values()].flatMap((set) => [...set])]
    for (const res of opened) res.destroy()
  }

  private stream(res: Response, opened: Set<Response>, onClose: () => void) {
    res.set({ 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    res.flushHeaders()
    opened.add(res)
    res.on('close', () => {
      opened.delete(res)
      onClose()
    })
    const beat = () => {
      if (!opened.has(res)) return
      res.write(': still here\n\n')
      this.timers.after(heartbeatMs, beat)
    }
    this.timers.after(heartbeatMs, beat)
  }

  private touchLists() {
    if (this.lists.size === 0 || this.listDue) return
    this.listDue = true
    this.timers.after(listPauseMs, () => {
      this.listDue = false
      write(this.lists, 'phones', this.list())
    })
  }
}

function write(targets: Iterable<Response>, event: string, body: unknown) {
  const frame = `event: ${event}\ndata: ${JSON.stringify(body)}\n\n`
  for (const res of targets) res.write(frame)
}
