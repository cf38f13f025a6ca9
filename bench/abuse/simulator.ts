import { isIP } from 'node:net'
import { sql } from 'drizzle-orm'
import { clientAt } from '../../api/client-address'
import { readingFor } from '../../api/number-reading'
import { type PhoneNumber, type Reading, readPhoneNumber } from '../../api/phone-number'
import { Problem } from '../../api/problem'
import type { Keyring } from '../../codes/keyring'
import { randomId } from '../../codes/random-id'
import { scopeDigest } from '../../codes/scope-digest'
import { anyAccount, type Budget, moneyOf } from '../../core/spending/money'
import { faultsOfNumber } from '../../core/protection/number'
import {
  type ProtectionPolicy,
  type ProtectionSettings,
  protectionOf,
  usualMessageCap,
} from '../../core/protection/protection'
import type { Finding } from '../../core/protection/rules'
import type { Verdict } from '../../core/protection/verdict'
import { lifetime, maxChecks } from '../../core/limits'
import type { Database, Queries } from '../../db'
import { creditSends, noteRefusal, settleSends } from '../../db/protection/decisions'
import { type Guarded, type GuardedSend, guardSend } from '../../db/protection/guard'
import { type SendLimitKind, type SendLimits, takeLimits } from '../../db/protection/limits'
import { countMessage } from '../../db/protection/message-window'
import { takeBudget } from '../../db/spending/spending'
import { createApp } from '../../db/apps/apps'
import { isKnown } from '../../db/recipients/known'
import { holdRecipient } from '../../db/recipients/recipients'
import type { TrafficEvent } from './event'
import { prices } from './prices'

const environment = 'production'
/** Names of apps as the service takes them. */
const appId = /^[\w.-]{1,64}$/

const minuteMs = 60_000
/** Decisions that the slow rules look at in one go. */
const settlePage = 500
/** A code's life, and until its message counts as one that did not come back: as `guardSend` has it. */
const lifetimeMs = lifetime.default * 1000
const maturityMs = lifetimeMs + 60_000
/** A live request is sent again until half of its life is over, and then replaced. */
const sameRequestMs = lifetimeMs / 2

/** Why a send was refused: the kind of limit, or the fraud rules. */
export type Refusal =
  | { by: 'number' | 'budget' }
  | { by: 'limit'; limit: SendLimitKind }
  | { by: 'rules'; verdict: Verdict; findings: readonly Finding[] }

/** What became of a send; `challenged`: a challenge was asked for, and solved. */
export type SendOutcome =
  | { accepted: true; price: number; challenged: boolean }
  | { accepted: false; refusal: Refusal; challenged: boolean }

/** A block that the rules raised. */
export interface RaisedBlock {
  atMs: number
  scope: string
  label: string | null
  rule: string
  asks: string
}

/** Told of everything as it happens. */
export interface Watcher {
  sent(event: TrafficEvent, outcome: SendOutcome): void
  /** A wrong code that was compared with a live one. */
  guessed(event: TrafficEvent): void
}

export interface SimulatorOptions {
  db: Database
  keyring: Keyring
  policy: ProtectionPolicy
  /** What an app may spend where the policy does not say. */
  budget: Budget
  watcher: Watcher
  /** Whether attackers solve challenges as people do; they do not when absent. */
  attackersSolve?: boolean | undefined
}

interface OpenRequest {
  id: string
  place: string
  madeAt: number
  wrong: number
  isOver: boolean
  /** Its code came back. */
  isCredited: boolean
}

/** Ends the transaction without keeping anything of it. */
class Refused extends Error {
  constructor(
    readonly refusal: Refusal,
    readonly note?: { send: GuardedSend; guarded: Guarded },
  ) {
    super(refusal.by)
  }
}

/**
 * Feeds traffic, in the order of time, through the functions that the service decides with, on a database of its own.
 * Every statement goes by the event's time; what a worker does once a minute is done once a minute of that.
 */
export class Simulator {
  readonly #numbers = new Map<string, PhoneNumber | undefined>()
  readonly #settings = new Map<string, ProtectionSettings>()
  /** The apps of the service, by their names in the traffic. */
  readonly #apps = new Map<string, string>()
  /** By the event's id. */
  readonly #requests = new Map<string, OpenRequest>()
  /** By app and number. */
  readonly #live = new Map<string, OpenRequest>()
  /** When messages mature, in order: a minute in which none does has nothing to settle. */
  readonly #due: { atMs: number; request: OpenRequest }[] = []
  #firstDue = 0
  #nextMinute: number | undefined

  constructor(private readonly options: SimulatorOptions) {}

  async feed(event: TrafficEvent): Promise<void> {
    await this.#settleUntil(event.t)
    if (event.type === 'send') this.options.watcher.sent(event, await this.#send(event))
    if (event.type === 'verify') await this.#verify(event)
  }

  /** Lets the time pass in which the last codes may come back. */
  finish(lastMs: number): Promise<void> {
    return this.#settleUntil(lastMs + maturityMs + 2 * minuteMs)
  }

  /** Every block there was, in the order of its beginning. */
  raisedBlocks(): Promise<RaisedBlock[]> {
    return this.options.db.many<RaisedBlock>(sql`
      select extract(epoch from since)::float8 * 1000 as "atMs", scope, label, rule, asks from send_blocks order by since`)
  }

  async #settleUntil(atMs: number): Promise<void> {
    this.#nextMinute ??= Math.ceil(atMs / minuteMs) * minuteMs
    while (this.#nextMinute <= atMs) {
      const due = this.#nextDue()
      if (due === undefined || due > this.#nextMinute) {
        const wanted = Math.min(due ?? Infinity, atMs)
        this.#nextMinute +=
          Math.max(1, Math.ceil((wanted - this.#nextMinute) / minuteMs)) * minuteMs
        continue
      }
      while ((this.#nextDue() ?? Infinity) <= this.#nextMinute) this.#firstDue++
      const at = new Date(this.#nextMinute)
      for (let count = settlePage; count === settlePage;)
        ({ count } = await settleSends(this.options.db, settlePage, at))
      this.#nextMinute += minuteMs
    }
  }

  /** When the next message matures whose code has not come back. */
  #nextDue(): number | undefined {
    while (this.#due[this.#firstDue]?.request.isCredited) this.#firstDue++
    return this.#due[this.#firstDue]?.atMs
  }

  async #send(told: TrafficEvent): Promise<SendOutcome> {
    const phone = this.#read(told)
    if (!phone) return { accepted: false, refusal: { by: 'number' }, challenged: false }
    const event = { ...told, app: await this.#makeApp(told.app) }
    const settings = this.#settingsFor(event.app, phone.country)
    const groups = this.options.policy.countryGroups
    if (faultsOfNumber(phone, settings, { groups, everywhere: true }).length > 0)
      return { accepted: false, refusal: { by: 'number' }, challenged: false }
    const first = await this.#decide(event, phone, false)
    const asks =
      !first.accepted &&
      ((first.refusal.by === 'limit' && first.refusal.limit === 'ip') ||
        (first.refusal.by === 'rules' && first.refusal.verdict === 'challenge'))
    const solves =
      event.truth === 'user' || event.solves === true || this.options.attackersSolve === true
    if (!asks || !solves) return first
    return { ...(await this.#decide(event, phone, true)), challenged: true }
  }

  /** The number as the service reads it; undefined: it is refused. */
  #read({ phone, country }: TrafficEvent): PhoneNumber | undefined {
    if (!this.#numbers.has(phone)) {
      let read
      try {
        read = readPhoneNumber(phone, this.#readingFor(country))
      } catch (error) {
        if (!(error instanceof Problem)) throw error
      }
      this.#numbers.set(phone, read)
    }
    return this.#numbers.get(phone)
  }

  #readingFor(country: string | undefined): Reading {
    const { policy } = this.options
    const app = { id: '', defaultCountry: country ?? null }
    return readingFor({ routing: { policy }, isProduction: false }, app)
  }

  /** The app that a name stands for; one that is no id gets an id of its own. */
  async #makeApp(name: string): Promise<string> {
    const known = this.#apps.get(name)
    if (known !== undefined) return known
    const id = appId.test(name) ? name : `app-${this.#apps.size + 1}-of-the-file`
    this.#apps.set(name, id)
    // Not by its name in the file: that may hold what Postgres does not take.
    await createApp(this.options.db, { id, name: id })
    return id
  }

  #settingsFor(app: string, country: string | null): ProtectionSettings {
    const name = `${app}|${country}`
    const known = this.#settings.get(name)
    if (known) return known
    const settings = protectionOf(this.options.policy, { app, country })
    this.#settings.set(name, settings)
    return settings
  }

  async #decide(
    event: TrafficEvent,
    { number, country }: PhoneNumber,
    isSolved: boolean,
  ): Promise<SendOutcome> {
    const { db } = this.options
    const at = new Date(event.t)
    const place = `${event.app}|${number}`
    const live = this.#liveAt(place, event.t)
    const request = live ?? {
      ...{
        id: randomId('otp'),
        place,
        madeAt: event.t,
        wrong: 0,
        isOver: false,
        isCredited: false,
      },
    }
    const settings = this.#settingsFor(event.app, country)
    const budget = settings.budget ?? this.options.budget
    const money = moneyOf(prices, { kind: 'phone', country, number, budget })
    const price = money?.prices.sms?.[anyAccount]
    const digests = this.#digestsOf(event)
    const send: WantedSend = {
      ...{ event, number, country, settings, requestId: request.id, isSolved, at },
      ...{ digests, price, budget },
    }
    try {
      await db.transaction((tx) => this.#decideIn(tx, send))
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      if (error.note) await noteRefusal(db, error.note.send, error.note.guarded, at)
      return { accepted: false, refusal: error.refusal, challenged: false }
    }
    this.#live.set(place, request)
    this.#requests.set(event.id, request)
    this.#due.push({ atMs: event.t + maturityMs, request })
    return { accepted: true, price: Number(price), challenged: false }
  }

  #digestsOf({ ip, device }: TrafficEvent): WantedSend['digests'] {
    const { keyring } = this.options
    return {
      ip: ip === undefined ? undefined : scopeDigest(keyring, 'ip', networkOf(ip)),
      device: device === undefined ? undefined : scopeDigest(keyring, 'key/device', device),
    }
  }

  #liveAt(place: string, atMs: number): OpenRequest | undefined {
    const live = this.#live.get(place)
    return live && !live.isOver && atMs - live.madeAt < sameRequestMs ? live : undefined
  }

  /** A solved challenge stands for the end user's address. */
  #limitsOf({ event, settings, isSolved, digests }: WantedSend): SendLimits {
    const { limits } = settings
    const ip = isSolved ? undefined : digests.ip
    const ofDevices = limits.keys.device
    return {
      recipient: limits.recipient,
      messages: this.options.policy.protection?.messageCap ?? usualMessageCap,
      ...(ip !== undefined && { ip: [{ digest: ip, limits: limits.ip }] }),
      keys:
        event.device !== undefined && digests.device !== undefined && ofDevices
          ? [{ name: 'device', digest: digests.device, limits: ofDevices }]
          : [],
    }
  }

  async #decideIn(tx: Queries, wanted: WantedSend): Promise<void> {
    const { event, number, country, settings, requestId, isSolved, at, digests } = wanted
    const { keyring } = this.options
    const address = { appId: event.app, kind: 'phone' as const, value: number }
    const { id: recipientId } = await holdRecipient(tx, keyring, address)
    const limits = this.#limitsOf(wanted)
    const limited = { app: event.app, environment, recipientId, number, limits } as const
    const slot = await takeLimits(tx, keyring, limited, at)
    if ('limit' in slot) throw new Refused({ by: 'limit', limit: slot.limit })
    const send: GuardedSend = {
      ...{ app: event.app, environment, number, country, requestId, recipientId, isSolved },
      ...{ mode: settings.mode.live, rules: settings.rules, isTrusted: false },
      isKnown: await isKnown(tx, { recipientId, environment }, at),
      lifetimeSeconds: lifetime.default,
      ip: digests.ip,
      ...(digests.device !== undefined && { keys: { device: digests.device } }),
    }
    const guarded = await guardSend(tx, keyring, send, at)
    const { verdict, findings } = guarded
    if (verdict !== 'allowed')
      throw new Refused({ by: 'rules', verdict, findings }, { send, guarded })
    const purse = { appId: event.app, live: true, currency: prices.currency }
    const { price, budget } = wanted
    if (!(await takeBudget(tx, { ...purse, price, budget }, at)))
      throw new Refused({ by: 'budget' })
    const recipient = { kind: 'phone' as const, value: number }
    const message = { app: event.app, environment, recipient, limits: limits.messages } as const
    await countMessage(tx, keyring, message, at)
  }

  async #verify(event: TrafficEvent): Promise<void> {
    const number = this.#read(event)?.number
    const request =
      this.#requests.get(event.id) ?? this.#live.get(`${this.#apps.get(event.app)}|${number}`)
    if (!request || request.isOver || event.t - request.madeAt > lifetimeMs) return
    if (event.ok) {
      request.isOver = true
      request.isCredited = true
      await creditSends(this.options.db, [request.id], new Date(event.t))
      return
    }
    this.options.watcher.guessed(event)
    request.wrong++
    request.isOver = request.wrong >= maxChecks
  }
}

interface WantedSend {
  event: TrafficEvent
  number: string
  country: string | null
  settings: ProtectionSettings
  requestId: string
  isSolved: boolean
  at: Date
  /** Keyed digests of its address and its device. */
  digests: { ip: string | undefined; device: string | undefined }
  /** A decimal number with a point. */
  price: string | undefined
  budget: Budget | undefined
}

/** Whom limits of an address are counted for; a file may call its addresses what it likes. */
const networkOf = (ip: string): string => (isIP(ip) === 0 ? ip : clientAt(ip).network)
