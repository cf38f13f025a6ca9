/** What lets phones fill a code in by themselves; each is off until an app sets it. */
export interface Autofill {
  /** The web site that may read the code: its host, such as `shop.example`. */
  domain: string | null
  /** Eleven characters that Google Play services make of an Android app's name and certificate. */
  appHash: string | null
}

export const appHashShape = /^[A-Za-z0-9+/]{11}$/

/** A registered host name in ASCII, in small letters; no address, no port. */
export const domainShape =
  /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+(?:[a-z]{2,63}|xn--[a-z0-9-]{1,59})$/

/** In characters: every one of them is paid for. */
export const longestDomain = 80

/** Longer messages are not read for an Android app (SMS Retriever). */
export const longestForAndroid = 140

/**
 * A text with the lines that phones look for: the Android app's hash, and last of all the web site's line, which
 * counts only there. What a text has already is not added again.
 */
export function withAutofill(text: string, code: string, { domain, appHash }: Autofill): string {
  const body = text.trimEnd()
  const siteLine = /\n@\S+ #\S+$/.exec(body)?.[0].slice(1)
  const hash = appHash === null || body.includes(appHash) ? [] : [appHash]
  const site = domain === null || siteLine !== undefined ? [] : [`@${domain} #${code}`]
  if (hash.length + site.length === 0) return text
  if (siteLine === undefined) return [body, ...hash, ...site].join('\n')
  return [body.slice(0, -siteLine.length - 1), ...hash, siteLine].join('\n')
}
