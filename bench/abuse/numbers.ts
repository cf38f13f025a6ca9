import {
  type CountryCode,
  getExampleNumber,
  parsePhoneNumberFromString,
} from 'libphonenumber-js/max'
import examples from 'libphonenumber-js/mobile/examples'
import { rangeOf } from '../../core/protection/scopes'
import type { Random } from './random'

/** How mobile numbers begin and how many digits follow; of every operator of some size. */
const plans = {
  GH: { code: '233', starts: '24 54 55 59 20 50 26 56 27 57 53', digits: 7 },
  NG: {
    code: '234',
    starts:
      '803 806 813 816 703 706 802 808 812 701 708 805 807 811 815 705 809 817 818 909 908 903',
    digits: 7,
  },
  KE: { code: '254', starts: '70 71 72 74 79 11 10 73 75 76 77 78', digits: 7 },
  CI: { code: '225', starts: '07 05 01', digits: 8 },
  GB: { code: '44', starts: '73 74 75 77 78 79', digits: 8 },
  US: {
    code: '1',
    starts: '212 310 415 646 718 917 305 404 512 602 702 206 303 617 713',
    digits: 7,
  },
  DE: {
    code: '49',
    starts: '151 152 157 159 160 162 163 170 171 172 173 174 175 176 177 178 179',
    digits: 8,
  },
  IN: { code: '91', starts: '98 99 97 96 95 94 93 90 91 70', digits: 8 },
} as const
export type Home = keyof typeof plans

/** Countries that pumped traffic is often paid for in, with dear messages. */
export const dearCountries =
  'BD UZ TJ KG AZ PK LK ID PH MM IQ YE TN DZ LY MA SN ML BF NE TG BJ CM TD GA CG CD BI RW UG TZ ZM ZW MW MZ MG KM SC LT LV EE CU'.split(
    ' ',
  ) as CountryCode[]

const isMobile = (number: string, country: string): boolean => {
  const parsed = parsePhoneNumberFromString(number)
  const type = parsed?.getType()
  return parsed?.country === country && (type === 'MOBILE' || type === 'FIXED_LINE_OR_MOBILE')
}

const digits = (random: Random, count: number): string =>
  Array.from({ length: count }, () => random.below(10)).join('')

/** A mobile number of a country; `starts`: only those that begin so, after the country's code. */
export function drawNumber(random: Random, country: Home, starts?: readonly string[]): string {
  const plan = plans[country]
  const usual = plan.starts.split(' ')
  const length = (usual[0] ?? '').length + plan.digits
  for (;;) {
    const start = random.pick(starts ?? usual)
    const number = `+${plan.code}${start}${digits(random, length - start.length)}`
    if (isMobile(number, country)) return number
  }
}

/** The beginning of a number, its last four digits open; numbers of it are valid. */
export const drawBlock = (random: Random, country: Home): string =>
  drawNumber(random, country).slice(0, -4)

/** Blocks of one range: a number's last six digits open. */
export function drawBlocksOfRange(random: Random, country: Home, count: number): string[] {
  for (;;) {
    const range = rangeOf(drawNumber(random, country))
    const all = Array.from({ length: 100 }, (_, index) => range + String(index).padStart(2, '0'))
    const valid = all.filter((block) => isMobile(`${block}${digits(random, 4)}`, country))
    if (valid.length >= count) return shuffled(random, valid).slice(0, count)
  }
}

/** A block of a country that few apps have users in. */
export function drawForeignBlock(random: Random, country: CountryCode): string {
  const example = getExampleNumber(country, examples)?.number
  if (example === undefined) throw new Error(`No example number of ${country} is known.`)
  for (;;) {
    const block = example.slice(0, -6) + digits(random, 2)
    if (isMobile(`${block}${digits(random, 4)}`, country)) return block
  }
}

function shuffled<T>(random: Random, list: readonly T[]): T[] {
  const keyed = list.map((value) => ({ value, key: random.next() }))
  return keyed.toSorted((one, other) => one.key - other.key).map(({ value }) => value)
}

export const drawAddress = (random: Random): string =>
  `${random.pick([41, 62, 81, 86, 102, 105, 154, 178, 196, 197])}.${random.below(256)}.${random.below(256)}.${1 + random.below(254)}`
