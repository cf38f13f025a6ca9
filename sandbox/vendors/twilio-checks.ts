import type { VendorMessage } from './vendor'

/** A form's fields; a repeated one is a list. */
export type Fields = Record<string, string | string[] | undefined>

/** What Twilio says of a request that it cannot serve. */
export interface Wrong {
  code: number
  message: string
}

export const text = (value: Fields[string]): string => (typeof value === 'string' ? value : '')

const numberShape = /^\+[1-9]\d{7,14}$/
const senderShape = /^(\+\d{5,15}|\d{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 +&_-]{1,11})$/
const maxTwimlLength = 4_000
const events = new Set(['initiated', 'ringing', 'answered', 'completed'])

type Check = readonly [isWrong: boolean, code: number, message: string]

function firstOf(checks: readonly Check[]): Wrong | undefined {
  const found = checks.find(([isWrong]) => isWrong)
  return found && { code: found[1], message: found[2] }
}

const isUrl = (url: string) => URL.canParse(url) && /^https?:/.test(url)
const isWithin = (given: string, least: number, most: number) =>
  /^\d{1,6}$/.test(given) && Number(given) >= least && Number(given) <= most
const given = (fields: Fields, ...names: string[]) =>
  names.filter((name) => text(fields[name]) !== '').length

export function faultOfMessage(fields: Fields): Wrong | undefined {
  const [to, from] = [text(fields['To']), text(fields['From'])]
  const isWhatsapp = to.startsWith('whatsapp:')
  const callback = text(fields['StatusCallback'])
  const validity = text(fields['ValidityPeriod'])
  const template = text(fields['ContentSid'])
  return firstOf([
    [to === '', 21604, "A 'To' phone number is required."],
    [
      !numberShape.test(to.replace(/^whatsapp:/, '')),
      21211,
      `The 'To' number ${to} is not a valid phone number.`,
    ],
    [given(fields, 'From', 'MessagingServiceSid') === 0, 21603, "A 'From' number is required."],
    [given(fields, 'From', 'MessagingServiceSid') > 1, 20001, 'Give one sender.'],
    [
      from !== '' && (isWhatsapp ? !/^whatsapp:\+\d+$/.test(from) : !senderShape.test(from)),
      isWhatsapp ? 63007 : 21212,
      `The 'From' number ${from} is not valid.`,
    ],
    [given(fields, 'Body', 'ContentSid', 'MediaUrl') === 0, 21602, 'Message body is required.'],
    [given(fields, 'Body', 'ContentSid') > 1, 20001, 'Give either Body or ContentSid.'],
    [isWhatsapp && template === '', 63016, 'Outside the window a template is needed.'],
    [template !== '' && !/^HX[0-9a-f]{32}$/i.test(template), 21655, 'The ContentSid is invalid.'],
    [template !== '' && variablesOf(fields) === undefined, 21656, 'ContentVariables is invalid.'],
    [callback !== '' && !isUrl(callback), 21609, 'The StatusCallback is not a valid URL.'],
    [validity !== '' && !isWithin(validity, 1, 36_000), 20001, 'ValidityPeriod: 1 to 36000.'],
  ])
}

export function faultOfCall(fields: Fields): Wrong | undefined {
  const [to, twiml] = [text(fields['To']), text(fields['Twiml'])]
  const detection = text(fields['MachineDetection'])
  const timeout = text(fields['Timeout'])
  const wanted = [fields['StatusCallbackEvent'] ?? []].flat()
  return firstOf([
    [to === '', 21201, "No 'To' number is specified."],
    [!numberShape.test(to), 21211, `The 'To' number ${to} is not a valid phone number.`],
    [!numberShape.test(text(fields['From'])), 21213, "A valid 'From' number is required."],
    [given(fields, 'Url', 'Twiml', 'ApplicationSid') === 0, 21205, 'Url parameter is required.'],
    [
      twiml !== '' && !/^(<\?xml[^>]*\?>)?<Response>.*<\/Response>$/s.test(twiml),
      12100,
      'Document parse failure.',
    ],
    [twiml.length > maxTwimlLength, 20001, 'Twiml: at most 4000 characters.'],
    [!wanted.every((event) => events.has(event)), 21626, 'A StatusCallbackEvent is invalid.'],
    [
      detection !== '' && !['Enable', 'DetectMessageEnd'].includes(detection),
      20001,
      'MachineDetection is invalid.',
    ],
    [timeout !== '' && !isWithin(timeout, 1, 600), 20001, 'Timeout: 1 to 600.'],
    ...['StatusCallback', 'AsyncAmdStatusCallback'].map(
      (name) => [given(fields, name) > 0 && !isUrl(text(fields[name])), 21609, name] as const,
    ),
  ])
}

function variablesOf(fields: Fields): Record<string, unknown> | undefined {
  try {
    const variables: unknown = JSON.parse(text(fields['ContentVariables']) || '{}')
    return typeof variables === 'object' && variables !== null ? { ...variables } : undefined
  } catch {
    return undefined
  }
}

/** A message as phones get it; of a template, what the one approved for codes says. */
export function messageOf(fields: Fields): VendorMessage {
  const to = text(fields['To'])
  const validity = text(fields['ValidityPeriod'])
  const shown = { provider: 'twilio', to: to.replace(/^whatsapp:/, '') }
  if (to.startsWith('whatsapp:')) {
    const given = variablesOf(fields)?.['1']
    const code = typeof given === 'string' ? given : ''
    return { ...shown, channel: 'whatsapp', code, text: `${code} is your verification code.` }
  }
  const life = validity === '' ? {} : { validForSeconds: Number(validity) }
  return { ...shown, ...life, channel: 'sms', text: text(fields['Body']) }
}
