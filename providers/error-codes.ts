import { blameOf } from '../core/delivery/breaker'
import type { Fault } from '../core/delivery/fault'
import type { ReceiptStatus } from '../core/delivery/receipt'
import { type Answer, faultOfStatus } from './http'
import { ProviderFault } from './provider'

/** What a provider's error code is about. */
export const subjects = {
  number: 'the number: wrong, opted out, absent, busy, or written to too often',
  destination: 'the country or network: not allowed for the account, or without a route',
  allow_list: 'a trial account, and the number is not on its list',
  message: 'this text, template or language',
  credentials: 'who calls: key, token, permission',
  setup: 'the account’s sender, template, service or state',
  money: 'the account’s balance or quota',
  throttling: 'too many calls of the account',
  outage: 'the provider itself',
  unknown: 'nothing that the provider names',
} as const
export type Subject = keyof typeof subjects

/** Subjects that say something about the account: only of these a breaker may learn. */
const ofAccount: ReadonlySet<Subject> = new Set([
  'credentials',
  'setup',
  'money',
  'throttling',
  'outage',
])

/** What a code is about, and what follows from it. */
export interface CodeMeaning {
  about: Subject
  /** In the answer to a send. */
  fault: Fault
  /** In a report. */
  receipt: ReceiptStatus
  /** Milliseconds: not to be sent to the same user any sooner; to others it may. */
  waitMs?: number
}

/** A provider's error codes as it writes them, digits or a word. */
export type CodeTable = ReadonlyMap<string, CodeMeaning>

/** The meanings that codes share; a table takes one and its source says why. */
export const meanings = {
  badNumber: { about: 'number', fault: 'invalid_number', receipt: 'failed.permanent' },
  optedOut: { about: 'number', fault: 'blocked', receipt: 'failed.permanent' },
  /** Switched off, busy, out of coverage: the next try may reach it. */
  absent: { about: 'number', fault: 'unavailable', receipt: 'failed.retryable' },
  /** No way of this provider leads to this number for good. */
  noWay: { about: 'number', fault: 'unroutable', receipt: 'failed.permanent' },
  /** Not by this provider now: another one may. */
  elsewhere: { about: 'number', fault: 'unroutable', receipt: 'failed.retryable' },
  destination: { about: 'destination', fault: 'unroutable', receipt: 'failed.retryable' },
  allowList: { about: 'allow_list', fault: 'unroutable', receipt: 'failed.retryable' },
  message: { about: 'message', fault: 'unroutable', receipt: 'failed.retryable' },
  credentials: { about: 'credentials', fault: 'config', receipt: 'failed.config' },
  setup: { about: 'setup', fault: 'config', receipt: 'failed.config' },
  money: { about: 'money', fault: 'config', receipt: 'failed.config' },
  throttled: { about: 'throttling', fault: 'throttled', receipt: 'failed.retryable' },
  outage: { about: 'outage', fault: 'unavailable', receipt: 'failed.retryable' },
  unknown: { about: 'unknown', fault: 'unroutable', receipt: 'failed.retryable' },
} as const satisfies Record<string, CodeMeaning>

/** The same, where the provider says that no later try will do. */
export const forGood = (meaning: CodeMeaning): CodeMeaning => ({
  ...meaning,
  receipt: 'failed.permanent',
})

/** A table by meaning: each row is a meaning and the codes that have it. */
export const codeTable = (
  ...rows: readonly (readonly [CodeMeaning, ...(number | string)[]])[]
): CodeTable =>
  new Map(rows.flatMap(([meaning, ...codes]) => codes.map((code) => [String(code), meaning])))

/** The refusal that a code with this meaning is. */
export const faultOfMeaning = (
  { about, fault, waitMs = 0 }: CodeMeaning,
  words: string,
  { code, retryAfterMs = 0 }: { code?: string | undefined; retryAfterMs?: number | undefined } = {},
): ProviderFault => {
  const wait = Math.max(waitMs, retryAfterMs)
  return new ProviderFault(fault, words, {
    code,
    ...(wait > 0 && { retryAfterMs: wait }),
    ofRecipient: !ofAccount.has(about) && blameOf[fault] !== 'none',
  })
}

/** Statuses of an answer that mean the same whatever code comes with them: the call came at a bad time. */
const isAboutTheMoment = (status: number) => status >= 500 || status === 429 || status === 408

/**
 * What an answer that is no success means: by its code where that is in the table, else by its status. A code that
 * nobody wrote down blames neither the number nor the account, whatever its status: it may be about either.
 */
export function faultOfRefusal(
  codes: CodeTable,
  { status, retryAfterMs }: Pick<Answer, 'status' | 'retryAfterMs'>,
  { code, words }: { code: string | undefined; words: string },
): ProviderFault {
  const known = code === undefined ? undefined : codes.get(code)
  if (known && status < 500) return faultOfMeaning(known, words, { code, retryAfterMs })
  if (code !== undefined && !isAboutTheMoment(status))
    return faultOfMeaning(meanings.unknown, words, { code, retryAfterMs })
  return new ProviderFault(faultOfStatus(status), words, {
    code,
    retryAfterMs,
    // A provider that fails at a number or country says so: else a few of those would open a breaker.
    ofRecipient: known !== undefined && known.about !== 'unknown' && !ofAccount.has(known.about),
  })
}

/** What a failed message's code means in a report; an unknown code blames neither number nor account. */
export const receiptOfCode = (codes: CodeTable, code: string | undefined): ReceiptStatus =>
  (code === undefined ? undefined : codes.get(code)?.receipt) ?? 'failed.retryable'
