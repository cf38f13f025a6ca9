/** The basic table of GSM 7-bit (3GPP TS 23.038, 6.2.1), without the escape. */
const basic = new Set(
  '@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !"#¤%&\'()*+,-./0123456789:;<=>?' +
    '¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà',
)
/** Its extension (6.2.1.1): an escape comes before each of these. */
const extended = new Set('\f^{}\\[~]|€')

const limits = { 'GSM-7': { alone: 160, part: 153 }, 'UCS-2': { alone: 70, part: 67 } } as const

export interface Segments {
  encoding: keyof typeof limits
  /** Septets, or units of UTF-16. */
  units: number
  /** Parts that are billed. */
  parts: number
  /** Characters that GSM-7 does not have, each once: what makes it UCS-2. */
  foreign: string[]
}

/** How a text goes out as SMS. No part ends within a character, so full parts may hold a unit less. */
export function segmentsOf(text: string): Segments {
  const characters = [...text]
  const foreign = [...new Set(characters.filter((one) => !basic.has(one) && !extended.has(one)))]
  const encoding = foreign.length > 0 ? 'UCS-2' : 'GSM-7'
  const sizes = characters.map((one) =>
    encoding === 'UCS-2' ? one.length : extended.has(one) ? 2 : 1,
  )
  const units = sizes.reduce((sum, size) => sum + size, 0)
  const { alone, part } = limits[encoding]
  return { encoding, units, parts: units <= alone ? 1 : packed(sizes, part), foreign }
}

function packed(sizes: readonly number[], room: number): number {
  let parts = 1
  let used = 0
  for (const size of sizes) {
    if (used + size > room) {
      parts += 1
      used = 0
    }
    used += size
  }
  return parts
}
