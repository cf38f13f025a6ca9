import {
  type AlertDetail,
  type AlertName,
  alertRules,
  type NoticeKind,
  type Severity,
} from './rule'

/** What a message to people says of an alert. */
export interface AlertText {
  /** One line. */
  title: string
  /** A few sentences, and where to go on. */
  lines: string[]
}

export interface ToldAlert extends AlertName {
  id: string
  severity: Severity
  detail: AlertDetail
  openedAt: Date
}

const openings: Readonly<Record<NoticeKind, string>> = {
  opened: '',
  escalated: 'worse: ',
  reminder: 'still open: ',
  resolved: 'over: ',
}

/** @param publicUrl without a slash at its end; the runbook and the list of alerts are there */
export function textOf(alert: ToldAlert, kind: NoticeKind, publicUrl: string): AlertText {
  const { id, appId, environment, rule, subject, severity, openedAt } = alert
  const place = appId === null ? 'installation' : `app ${appId}`
  const about = subject === '' ? '' : ` (${subject})`
  return {
    title: `[${kind === 'resolved' ? 'resolved' : severity}] ${place}, ${environment}: ${openings[kind]}${alertRules[rule]}${about}`,
    lines: [
      kind === 'resolved' ? `It was found last: ${sentenceOf(alert)}` : sentenceOf(alert),
      `Since ${openedAt.toISOString()}.`,
      `What it means and what to do: ${publicUrl}/runbooks/${rule}`,
      kind === 'resolved'
        ? `All alerts: GET ${publicUrl}/admin/alerts, or npx otpilot alerts.`
        : `No more reminders: POST ${publicUrl}/admin/alerts/${id}/acknowledge, or npx otpilot alerts acknowledge ${id}.`,
    ],
  }
}

/** So many of them are named; what a receiver takes in one message is limited. */
const mostNamed = 15

/** Many alerts as one message, the critical ones first. */
export function textOfMany(
  many: readonly { alert: ToldAlert; kind: NoticeKind }[],
  publicUrl: string,
): AlertText {
  const rankOf = ({ alert, kind }: (typeof many)[number]) =>
    kind === 'resolved' ? 2 : Number(alert.severity !== 'critical')
  const titles = many
    .toSorted((one, other) => rankOf(one) - rankOf(other))
    .map(({ alert, kind }) => textOf(alert, kind, publicUrl).title)
  const more = titles.length - mostNamed
  return {
    title: `${titles.length} alerts at once, the first: ${titles[0] ?? ''}`,
    lines: [
      ...titles.slice(0, mostNamed),
      ...(more > 0 ? [`And ${more} more.`] : []),
      `All alerts, with what to do: GET ${publicUrl}/admin/alerts, or npx otpilot alerts.`,
    ],
  }
}

type Sentence = (detail: Details) => string

/** Reads figures; one that is not there is told as such, so that a message is always made. */
interface Details {
  number: (name: string) => string
  percent: (name: string) => string
  text: (name: string) => string
}

const detailsOf = (detail: AlertDetail): Details => ({
  number: (name) => String(detail[name] ?? 'unknown'),
  percent: (name) => {
    const value = detail[name]
    return typeof value === 'number' ? `${Math.round(value * 1_000) / 10} %` : 'unknown'
  },
  text: (name) => String(detail[name] ?? 'unknown'),
})

const sentences: Readonly<Record<keyof typeof alertRules, Sentence>> = {
  delivery_rate: ({ percent, number }) =>
    `${percent('rate')} of ${number('messages')} messages arrived; it should be ${percent('limit')} at least.`,
  conversion_drop: ({ percent, number }) =>
    `${percent('rate')} of ${number('requests')} codes came back; usual is ${percent('usual')}.`,
  geographic_anomaly: ({ percent, number }) =>
    `${number('sends')} sends in six hours, ${percent('part')} of all (usual: ${percent('usual_part')}); ${percent('rate')} of the codes came back, from ${number('users')} users in four weeks.`,
  volume_spike: ({ number }) =>
    `${number('sends')} sends in an hour (usual: ${number('usual')}), ${number('sends_12h')} in twelve (usual: ${number('usual_12h')}).`,
  budget: ({ number, text }) =>
    `${number('spent')} of ${number('limit')} ${text('currency')} is spent.`,
  provider_sla: ({ percent, number, text }) =>
    `${percent('uptime')} of the health pings are good (wanted: ${percent('uptime_limit')}), 95 of 100 calls are accepted within ${number('accept_p95_ms')} ms (wanted: ${number('accept_limit_ms')} ms), breakers open: ${text('open_channels')}.`,
  account_refused: ({ number, text }) =>
    `${text('provider')} refused its last ${number('refusals')} messages with code ${text('code')}, and took none in between.`,
  lockout_wave: ({ number }) =>
    `${number('locked')} requests were locked in two hours; usual is ${number('usual')}.`,
  guessing: ({ number, text }) =>
    `So much guessing should hit ${number('expected')} codes within a day (level ${text('level')}).`,
  block_raised: ({ number, text }) =>
    `${number('blocks')} blocks stand; the newest is of the ${text('scope')}${text('label') === 'unknown' ? '' : ` ${text('label')}`}, by the rule ${text('rule')}.`,
  refusal_wave: ({ number, percent }) =>
    `${number('refused')} sends were refused or challenged in two hours, ${percent('share')} of all; usual is ${percent('usual')}.`,
  price: ({ number, text }) =>
    `${text('provider')} charged ${number('price')} ${text('currency')} for a message by ${text('channel')}, estimated at ${number('estimate')}; the estimate goes on counting.`,
}

/** An alert's figures as one sentence for people. */
export const sentenceOf = ({ rule, detail }: Pick<ToldAlert, 'rule' | 'detail'>): string =>
  sentences[rule](detailsOf(detail))
