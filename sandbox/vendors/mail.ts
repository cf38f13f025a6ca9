/** What a mailbox shows of a mail. */
export interface Mail {
  subject: string
  text: string
}

/** Reads the plain text of a mail: of its first part that is one, else of the whole. */
export function readMail(source: string): Mail {
  const { headers, body } = split(source)
  const subject = decodeWords(headers.get('subject') ?? '')
  return { subject, text: textIn(headers, body)?.trim() ?? '' }
}

type Headers = ReadonlyMap<string, string>

function split(source: string): { headers: Headers; body: string } {
  const [head = '', ...rest] = source.split('\r\n\r\n')
  // A line that begins with a blank goes on with the one before it.
  const lines = head.replace(/\r\n[ \t]+/g, ' ').split('\r\n')
  const headers = lines.map((line): [string, string] => {
    const at = line.indexOf(':')
    return [line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()]
  })
  return { headers: new Map(headers), body: rest.join('\r\n\r\n') }
}

function textIn(headers: Headers, body: string): string | undefined {
  const type = headers.get('content-type') ?? 'text/plain'
  const boundary = /^multipart\/.*boundary="?([^";]+)"?/i.exec(type)?.[1]
  if (boundary !== undefined) {
    const parts = body.split(`--${boundary}`).slice(1, -1)
    const texts = parts.map((part) => {
      const inner = split(part.replace(/^\r\n/, ''))
      return textIn(inner.headers, inner.body)
    })
    return texts.find((text) => text !== undefined)
  }
  return /^text\/plain/i.test(type) ? decode(headers, body) : undefined
}

function decode(headers: Headers, body: string): string {
  const encoding = headers.get('content-transfer-encoding')?.toLowerCase()
  if (encoding === 'base64') return Buffer.from(body, 'base64').toString('utf8')
  if (encoding === 'quoted-printable') return quotedPrintable(body.replace(/=\r\n/g, ''))
  return body
}

/** UTF-8 behind `=C3=89`. */
const quotedPrintable = (text: string): string =>
  text.replace(/(?:=[0-9A-F]{2})+/gi, (bytes) =>
    Buffer.from(bytes.replaceAll('=', ''), 'hex').toString('utf8'),
  )

/** `=?UTF-8?Q?Votre_code?=` and `=?UTF-8?B?…?=`. */
const decodeWords = (text: string): string =>
  text
    .replace(/\?=\s+=\?/g, '?==?')
    .replace(/=\?utf-8\?([qb])\?([^?]*)\?=/gi, (_all, kind: string, word: string) =>
      kind.toLowerCase() === 'b'
        ? Buffer.from(word, 'base64').toString('utf8')
        : quotedPrintable(word.replaceAll('_', ' ')),
    )
