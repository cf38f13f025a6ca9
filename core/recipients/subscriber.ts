/**
 * The spellings of one subscriber's number. Networks report a number as they keep it: without the digit that a numbering
 * plan added since, or with one that it dropped. Each rule knows a country's digits behind the `+`, and gives all
 * spellings, today's first; undefined for a number that is none of its own.
 */
type Rule = (digits: string) => string[] | undefined

/** One prefix in place of another, or of none, before the same rest. */
const either =
  (pattern: RegExp, spell: (...parts: string[]) => string[]): Rule =>
  (digits) => {
    const [, ...parts] = pattern.exec(digits) ?? []
    return parts.length > 0 ? spell(...parts.map((part) => part ?? '')) : undefined
  }

/** Mexico: the 1 of mobiles went in 2019; WhatsApp still writes it. */
const mexico = either(/^521?([2-9]\d{9})$/, (rest = '') => [`52${rest}`, `521${rest}`])

/** Brazil: mobiles got a 9 before their eight digits from 2012 to 2016; landlines begin with 2 to 5. */
const brazil = either(/^55([1-9]\d)9?([6-9]\d{7})$/, (area = '', rest = '') => [
  `55${area}9${rest}`,
  `55${area}${rest}`,
])

/** Argentina's area codes of three digits; Buenos Aires has two (11), all others four. */
const threeDigitAreas = new Set(
  (
    '220 221 223 230 236 237 249 260 261 263 264 266 280 291 294 297 298 299 336 341 342 343 345 348 351 353 358 362 364 ' +
    '370 376 379 380 381 383 385 387 388'
  ).split(' '),
)
const areaLength = (rest: string) =>
  rest.startsWith('11') ? 2 : threeDigitAreas.has(rest.slice(0, 3)) ? 3 : 4

/** Argentina: mobiles have a 9 before the area code abroad, and a 15 behind it at home; some networks write neither. */
const argentina: Rule = (digits) => {
  const [, national] = /^549?([1-9]\d{9}|[1-9]\d{11})$/.exec(digits) ?? []
  if (national === undefined) return undefined
  const length = areaLength(national)
  const area = national.slice(0, length)
  const tail = national.slice(length)
  const rest = national.length === 12 ? (/^15(\d+)$/.exec(tail)?.[1] ?? undefined) : tail
  if (rest === undefined) return undefined
  return [`549${area}${rest}`, `54${area}${rest}`, `54${area}15${rest}`, `549${area}15${rest}`]
}

/** Côte d'Ivoire, 2021: mobiles got their operator's two digits, which the second of the old eight tells. */
const coteDIvoire: Rule = (digits) => {
  const [, operator, rest = ''] = /^225(01|05|07)?([04-9]\d{7})$/.exec(digits) ?? []
  const owner = ['01', '01', '01', '01', '05', '05', '05', '07', '07', '07'][Number(rest[1])]
  if (owner === undefined || (operator !== undefined && operator !== owner)) return undefined
  return [`225${owner}${rest}`, `225${rest}`]
}

/** Benin, 2024: all numbers got 01 before their eight digits. */
const benin = either(/^229(?:01)?([24-9]\d{7})$/, (rest = '') => [`22901${rest}`, `229${rest}`])

/** Gabon, 2019: the 0 of the old eight digits became the first digit of the operator's two. */
const gabonOperators: Readonly<Record<string, string>> = {
  '02': '62',
  '04': '74',
  '05': '65',
  '06': '66',
  '07': '77',
}
const gabon: Rule = (digits) => {
  const [, begin = '', rest = ''] = /^2410?(0[24567]|6[256]|7[47])(\d{6})$/.exec(digits) ?? []
  const [old, today] =
    Object.entries(gabonOperators).find(([was, is]) => begin === was || begin === is) ?? []
  return old === undefined ? undefined : [`241${today}${rest}`, `241${old}${rest}`]
}

/** Cameroon, 2014: mobiles got a 6 before their eight digits. */
const cameroon = either(/^2376?([5-9]\d{7})$/, (rest = '') => [`2376${rest}`, `237${rest}`])

/** Vietnam, 2018: mobiles of ten digits behind the 0 got nine. */
const vietnamPrefixes = new Map(
  [
    ...['162 32', '163 33', '164 34', '165 35', '166 36', '167 37', '168 38', '169 39'],
    ...['120 70', '121 79', '122 77', '126 76', '128 78', '123 83', '124 84', '125 85'],
    ...['127 81', '129 82', '186 56', '188 58', '199 59'],
  ].map((pair) => pair.split(' ') as [string, string]),
)
const vietnam: Rule = (digits) => {
  const [, begin = '', rest = ''] = /^84(1\d{2}|[3578]\d)(\d{7})$/.exec(digits) ?? []
  const [old, today] = [...vietnamPrefixes].find(([was, is]) => begin === was || begin === is) ?? []
  return old === undefined ? undefined : [`84${today}${rest}`, `84${old}${rest}`]
}

const rules: readonly Rule[] = [
  ...[mexico, brazil, argentina, coteDIvoire, benin, gabon, cameroon, vietnam],
]

/**
 * All spellings of the number's subscriber that networks are known to use, that of today's plan first; the number alone
 * where there are no others. Numbers have a `+` and digits only; not every spelling is valid.
 */
export function spellingsOf(number: string): string[] {
  const digits = number.replace(/^\+/, '')
  const found = rules.map((rule) => rule(digits)).find((spellings) => spellings !== undefined)
  return found ? found.map((spelling) => `+${spelling}`) : [number]
}

/** Whether two numbers are spellings of one subscriber's. */
export const isSameSubscriber = (one: string, other: string): boolean =>
  one === other || spellingsOf(one).includes(other)
