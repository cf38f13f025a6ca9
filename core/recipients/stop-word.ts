/**
 * What people answer to a message to get no more of them. The English words and ARRET are those that AWS requires of
 * every sender (docs.aws.amazon.com, "opt-out list keywords"); STOPALL and REVOKE are Twilio's further defaults.
 */
const stopWords: ReadonlySet<string> = new Set([
  'STOP',
  'STOPALL',
  'UNSUBSCRIBE',
  'CANCEL',
  'END',
  'QUIT',
  'OPTOUT',
  'REMOVE',
  'REVOKE',
  'ARRET',
])

/** Whether a reply is such a word and nothing else: "please stop by at five" is none. */
export const isStop = (text: string): boolean =>
  stopWords.has(
    text
      .normalize('NFKD')
      .replace(/[^\p{L}]/gu, '')
      .toUpperCase(),
  )
