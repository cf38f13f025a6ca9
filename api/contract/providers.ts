import { z } from 'zod'
import { channels } from '../../core/channel'
import { faults } from '../../core/delivery/fault'
import { receiptStatuses } from '../../core/delivery/receipt'
import { Channel, time } from './common'
import { named } from './registry'

const longestWindowHours = 168

/** The question's part that the command line asks too. */
export const windowHours = z.coerce
  .number()
  .int()
  .min(1)
  .max(longestWindowHours)
  .default(24)
  .describe('What the record covers: so many hours back from now, the one under way included.')

export const ProvidersQuery = z.strictObject({ hours: windowHours })

const share = z.number().min(0).max(1).nullable()
const milliseconds = z.int().min(0).nullable()
const count = z.int().min(0)
const Fault = z.enum(faults)

const Ping = z
  .object({
    at: time,
    ok: z.boolean(),
    fault: Fault.nullable(),
    failures: count.describe('In a row.'),
    milliseconds: count,
    since: time.describe('Since when pings have gone as the last one did.'),
  })
  .describe('The last health ping; null for an account that cannot be pinged, or was not yet.')

const Breaker = z.object({
  channel: Channel,
  state: z
    .enum(['closed', 'open', 'half_open'])
    .describe('half_open: the next call, or one that is under way, tries the account again.'),
  fault: Fault.nullable().describe('What opened it, or failed its last probe.'),
  opened_by: z.enum(['calls', 'ping']).nullable(),
  since: time.nullable().describe('Since when it is open, or closed again; null: always closed.'),
  probe_at: time.nullable().describe('While it is open: when one call tries the account again.'),
  failed_probes: count,
})

const RouteRecord = z
  .object({
    channel: Channel,
    country: z.string().nullable(),
    calls: count,
    accepted: count,
    refused: count,
    in_doubt: count,
    faults: z.partialRecord(Fault, count),
    receipts: z
      .partialRecord(z.enum(receiptStatuses), count)
      .describe('Calls by their last state.'),
    uptime: share.describe(
      'Of the calls: all but those that failed for the account’s own reasons (throttled, unavailable, in_doubt, config).',
    ),
    accept_ms: z
      .object({ p50: milliseconds, p95: milliseconds, p99: milliseconds })
      .describe('From the claim of the call to the acceptance, within 5 %.'),
    receipt_rate: share.describe('Of what was accepted: delivered or answered by a receipt.'),
    receipt_ms: z
      .object({ p50: milliseconds, p95: milliseconds })
      .describe('From the acceptance to that receipt, within 5 %.'),
    success_rate: share.describe(
      'Of the calls that were not refused for the number’s own fault and have had a minute: delivered, or its code came back.',
    ),
    costs: z.array(z.object({ amount: z.string(), currency: z.string() })),
  })
  .describe('Up to a minute old.')

export const ProvidersAnswer = named(
  'ProvidersAnswer',
  z.object({
    window_hours: z.int(),
    providers: z.array(
      z.object({
        provider: z.string(),
        adapter: z
          .string()
          .nullable()
          .describe('null: only the record knows of it; it is not set up here (any more).'),
        test: z.boolean().nullable(),
        region: z.string().nullable(),
        channels: z.array(z.enum(channels)),
        ping: Ping.nullable(),
        uptime: share.describe('The share of good pings.'),
        breakers: z.array(Breaker),
        record: z.array(RouteRecord),
      }),
    ),
  }),
)
export type ProvidersAnswer = z.infer<typeof ProvidersAnswer>
