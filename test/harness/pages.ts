import { expect } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { clientOf, until } from './client'
import type { System } from './system'
import { publishableKeyOf, visitorsOf } from './visitor'

type Visitor = ReturnType<typeof visitorsOf>
export type Page = ReturnType<Visitor>

/** Pages that send and check, each from an address of its own, and the back end that they belong to. */
export async function pagesOf(system: System) {
  const backEnd = clientOf(system)
  const visitor = visitorsOf(system, await publishableKeyOf(system))
  const view = async (id: string) => (await backEnd.call('GET', `/otp/${id}`)).body
  return {
    backEnd,
    visitor,
    view,
    codeFor: async (phone: string, not = '') =>
      (
        await until(async () => (await backEnd.inbox(phone)).find(({ code }) => code !== not), {
          what: `a message to ${phone}`,
        })
      ).code,
    /** A send that has to succeed. */
    sendFrom: async (page: Page, phone: string) => {
      const { status, body } = await page.send(phone)
      expect([status, body.status]).toEqual([200, 'sent'])
      return { page, id: String(body.request_id), resend: body.resend }
    },
    check: ({ page, id }: { page: Page; id: string }, code: string) =>
      page.verify({ request_id: id, code }),
    sharedBy: async (id: string) => String((await view(id)).shared_request_id),
    /** So much later that the pauses of pages are over. */
    later: (seconds = 31) =>
      system.db.many(sql`update send_windows
        set sends = array(select t - make_interval(secs => ${seconds}) from unnest(sends) t)`),
  }
}

export const wrongFor = (code: string) =>
  code.replace(/^./, (digit) => String((Number(digit) + 1) % 10))
