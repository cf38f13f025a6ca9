/** Whether each character follows the one before it in `alphabet`, or each precedes it; the last is followed by the first. */
function isRun(text: string, alphabet: string): boolean {
  const places = [...text].map((character) => alphabet.indexOf(character))
  const steps = places
    .slice(1)
    .map((place, index) => (place - (places[index] ?? 0) + alphabet.length) % alphabet.length)
  return steps.every((step) => step === 1) || steps.every((step) => step === alphabet.length - 1)
}

const isRepeated = (text: string): boolean => (text + text).indexOf(text, 1) < text.length

/**
 * Whether a code is among the first that anybody would try: two characters or fewer (`111111`, `100000`, `121212`), a
 * repeated part (`123123`), or characters in their order, also doubled or forth and back (`123456`, `543210`, `890123`,
 * `112233`, `123321`).
 */
export function isTrivialCode(code: string, alphabet: string): boolean {
  const half = Math.ceil(code.length / 2)
  const mirrored = [...code].reverse().join('') === code
  return (
    new Set(code).size <= 2 ||
    isRepeated(code) ||
    isRun(code, alphabet) ||
    isRun(code.replace(/(.)\1+/g, '$1'), alphabet) ||
    (mirrored && isRun(code.slice(0, half), alphabet))
  )
}
