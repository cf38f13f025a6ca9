interface Change {
  /** Numbers of before, in E.164 with `+`. */
  old: RegExp
  now: string
}

/** Numbers that begin otherwise than they did, by their country code: `old:new`, of equal rank. */
const moved = (code: string, pairs: string, rest: string): Change[] =>
  pairs.split(' ').map((pair) => {
    const [before = '', after = ''] = pair.split(':')
    return { old: new RegExp(`^\\+${code}${before}(${rest})$`), now: `+${code}${after}$1` }
  })

/**
 * Numbering plans that changed, where the number of today follows from the one of before: people keep old numbers in
 * their contacts for years, and some networks go on reporting them. Years are those of the change. Gabon is left out:
 * its old form (2019) is a valid number to the plans' metadata, and so a recipient of its own.
 */
const changes: readonly Change[] = [
  // Mexico, 2019: mobiles lost the 1 after the country code, and the prefixes 044, 045 and 01 at home.
  { old: /^\+52(?:1|0?4[45]|01)(\d{10})$/, now: '+52$1' },
  // Brazil, 2012 to 2016: mobiles got a 9 before their eight digits.
  { old: /^\+55([1-9]\d)([6-9]\d{7})$/, now: '+55$19$2' },
  // Benin, 2024: every number got 01 before its eight digits.
  { old: /^\+229(\d{8})$/, now: '+22901$1' },
  // Cameroon, 2014: mobiles got a 6 before their eight digits.
  { old: /^\+237([579]\d{7})$/, now: '+2376$1' },
  // Mauritius, 2013: mobiles got a 5 before their seven digits.
  { old: /^\+230([479]\d{6})$/, now: '+2305$1' },
  // Vietnam, 2018: mobiles of eleven digits became some of ten.
  ...moved('84', '162:32 163:33 164:34 165:35 166:36 167:37 168:38 169:39', '\\d{7}'),
  ...moved('84', '120:70 121:79 122:77 126:76 128:78 123:83 124:84 125:85 127:81 129:82', '\\d{7}'),
  ...moved('84', '186:56 188:58 199:59', '\\d{7}'),
]

/**
 * What a number that no plan of today knows was renumbered to.
 * @param number E.164 with `+`
 * @returns undefined where no change is known for it
 */
export function currentForm(number: string): string | undefined {
  const change = changes.find(({ old }) => old.test(number))
  return change && number.replace(change.old, change.now)
}

/** Argentine mobiles as people write them, without the 9 that tells them from landlines; undefined for any others. */
export const argentineMobile = (number: string): string | undefined =>
  /^\+54\d{10}$/.test(number) ? `+549${number.slice(3)}` : undefined

/** Côte d'Ivoire, 2021: which two digits an old number got depends on its network. */
export const isOldIvorian = (number: string): boolean => /^\+225\d{8}$/.test(number)
