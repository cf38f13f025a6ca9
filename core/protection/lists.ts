import type { RecipientKind } from '../channel'
import { limitKeyOf } from './mailbox'
import { spellingsOf } from '../recipients/subscriber'

/** What an entry of a list is about. */
export const listKinds = [
  'phone_number',
  'prefix',
  'country',
  'network',
  'email',
  'domain',
] as const
export type ListKind = (typeof listKinds)[number]

/** What an entry says of sends that it is about. */
export const listVerdicts = ['allow', 'block'] as const
export type ListVerdict = (typeof listVerdicts)[number]

/** An entry that is about a send. */
export interface ListMatch {
  /** Of the operators, for every app; else of the app. */
  isGlobal: boolean
  kind: ListKind
  verdict: ListVerdict
  /** Digits of a prefix, bits of a network, parts of a domain; the longer one is the more exact. */
  length: number
}

export interface Listed {
  isBlocked: boolean
  /** The fraud rules do not look at it. */
  isAllowed: boolean
  /** The very number is on an allow list: neither its kind nor its country matters. */
  isExempt: boolean
}

/** Digits of a prefix. */
export const prefixDigits = { least: 2, most: 14 } as const

/**
 * Every value that an entry about a recipient could have: whoever has a number listed means its subscriber, and whoever has
 * an e-mail address listed the mailbox that all its sub-addresses are.
 */
export const recipientValues = ({
  kind,
  value,
  country,
}: {
  kind: RecipientKind
  value: string
  country: string | null
}): { kind: ListKind; value: string }[] => [
  ...(kind === 'phone' ? valuesOfNumber(value) : valuesOfEmail(value)),
  ...(country === null ? [] : [{ kind: 'country' as const, value: country }]),
]

function valuesOfNumber(number: string) {
  const { least, most } = prefixDigits
  const lengths = Array.from({ length: most - least + 1 }, (_, index) => least + index)
  return [
    ...[...new Set([number, ...spellingsOf(number)])].map((value) => ({
      kind: 'phone_number' as const,
      value,
    })),
    ...lengths
      .filter((length) => length < number.length)
      .map((length) => ({ kind: 'prefix' as const, value: number.slice(0, length + 1) })),
  ]
}

/** The address, its domain, and the domains that that one is in. */
function valuesOfEmail(email: string) {
  const labels = email.slice(email.lastIndexOf('@') + 1).split('.')
  const domains = labels.slice(0, -1).map((_, index) => labels.slice(index).join('.'))
  return [
    ...[...new Set([email, limitKeyOf({ kind: 'email', value: email })])].map((value) => ({
      kind: 'email' as const,
      value,
    })),
    ...domains.map((value) => ({ kind: 'domain' as const, value })),
  ]
}

/** The more exact kind counts; a network is about the end user, everything else about the recipient. */
export const exactness: Readonly<Record<ListKind, number>> = {
  phone_number: 3,
  email: 3,
  prefix: 2,
  domain: 2,
  country: 1,
  network: 1,
}

/**
 * What lists say of a send. The app's list and the operators' speak each for themselves, and so do entries about the
 * recipient and those about the end user's network. In each the most exact entry counts, and of two that are as exact
 * the block. One block among the answers blocks: no app lifts what an operator has blocked.
 */
export function judgeLists(matches: readonly ListMatch[]): Listed {
  const answers = [true, false].flatMap((isGlobal) => {
    const own = matches.filter((match) => match.isGlobal === isGlobal)
    const ofUser = own.filter(({ kind }) => kind === 'network')
    const ofRecipient = own.filter(({ kind }) => kind !== 'network')
    return [mostExact(ofUser), mostExact(ofRecipient)].flatMap((match) => match ?? [])
  })
  const isBlocked = answers.some(({ verdict }) => verdict === 'block')
  const allowing = isBlocked ? [] : answers
  return {
    isBlocked,
    isAllowed: allowing.length > 0,
    isExempt: allowing.some(({ kind }) => kind === 'phone_number'),
  }
}

const mostExact = (matches: readonly ListMatch[]): ListMatch | undefined =>
  matches.toSorted(
    (a, b) =>
      exactness[b.kind] - exactness[a.kind] ||
      b.length - a.length ||
      Number(b.verdict === 'block') - Number(a.verdict === 'block'),
  )[0]
