import { z } from 'zod'
import { type NumberLookup, type ProviderAccount, ProviderFault } from '../provider'
import { lineTypeOf } from './codes'

const optional = z.string().optional().catch(undefined)

const Line = z.object({
  valid: z.boolean(),
  line_type_intelligence: z
    .object({ type: optional, carrier_name: optional })
    .nullish()
    .catch(undefined),
  sms_pumping_risk: z
    .object({
      sms_pumping_risk_score: z.number().min(0).max(100).nullish().catch(undefined),
      number_blocked: z.boolean().nullish().catch(undefined),
    })
    .nullish()
    .catch(undefined),
})

const SimSwap = z.object({
  sim_swap: z.object({
    last_sim_swap: z.object({
      last_sim_swap_date: z.string().nullish().catch(undefined),
      swapped_in_period: z.boolean().nullish().catch(undefined),
    }),
  }),
})

/** Asks Lookup v2; the signal ends the call. */
type Ask = (path: string, signal: AbortSignal) => Promise<unknown>

/** Whether the SIM card was changed; undefined where the carrier does not say. */
function changedIn(body: unknown, withinHours: number): boolean | undefined {
  const { data } = SimSwap.safeParse(body)
  const { last_sim_swap_date: date, swapped_in_period: inPeriod } =
    data?.sim_swap.last_sim_swap ?? {}
  const at = Date.parse(date ?? '')
  if (!Number.isNaN(at)) return Date.now() - at < withinHours * 3_600_000
  // Some carriers say only whether it was within the period that the Twilio account is set up with.
  return inPeriod ?? undefined
}

/** What an account does with Lookup v2 (docs/providers/twilio.md). */
export const lookUpsBy = (ask: Ask): Pick<ProviderAccount, 'lookup' | 'simSwap'> => ({
  lookup: { asksSimSwap: true, lookUp: lookUpBy(ask) },
  simSwap: {
    hasChanged: async (phoneNumber, { withinHours }, signal) => {
      const changed = changedIn(await ask(pathOf(phoneNumber, ['sim_swap']), signal), withinHours)
      if (changed !== undefined) return changed
      throw new ProviderFault('unavailable', 'The carrier does not say when the SIM card changed.')
    },
  },
})

const pathOf = (phoneNumber: string, fields: readonly string[]) =>
  `/v2/PhoneNumbers/${encodeURIComponent(phoneNumber)}?Fields=${fields.join(',')}`

const lookUpBy =
  (ask: Ask): NumberLookup['lookUp'] =>
  async (phoneNumber, signal, { risk = false, simSwapWithinHours: hours } = {}) => {
    const fields = [
      'line_type_intelligence',
      ...(risk ? ['sms_pumping_risk'] : []),
      ...(hours === undefined ? [] : ['sim_swap']),
    ]
    const body = await ask(pathOf(phoneNumber, fields), signal)
    const { data } = Line.safeParse(body)
    if (!data) throw new ProviderFault('unavailable', 'The look-up gave no answer of use.')
    const { type = '', carrier_name: carrier } = data.line_type_intelligence ?? {}
    const { sms_pumping_risk_score: score, number_blocked: isBlocked } = data.sms_pumping_risk ?? {}
    const riskScore = isBlocked ? 100 : (score ?? undefined)
    return {
      valid: data.valid,
      lineType: lineTypeOf.get(type) ?? 'unknown',
      carrier,
      ...(riskScore !== undefined && { riskScore: Math.round(riskScore) }),
      ...(hours !== undefined && { simChanged: changedIn(body, hours) }),
    }
  }
