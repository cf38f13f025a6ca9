import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { sql } from 'drizzle-orm'
import { findTemplate } from '../../db/messages/templates'
import { readLocale } from '../../core/messages/locale'
import { type OlderDatabase, olderDatabase } from '../harness/older-database'

/** The newest migration of the versions that read a language's code as it was written. */
const before = '0027_page_channels'

let older: OlderDatabase
beforeAll(async () => void (older = await olderDatabase(before)))
afterAll(() => older.drop())

test('a template that was put under another code of its language is found after an update', async () => {
  const { db } = older
  await db.many(
    sql`insert into apps (id, name, brand, template_revision) values ('app', 'Acme', 'Acme', 6)`,
  )
  const put = ['en', 'fra', 'in', 'fra-CI', 'fil', 'id']
  await db.many(sql`insert into message_templates (app_id, channel, locale, revision, text)
    select 'app', 'sms', locale, revision, '{{code}} ' || locale
    from unnest(${sql.param(put)}::text[]) with ordinality as put (locale, revision)`)
  await older.migrate()
  const textOf = async (hint: string) =>
    (await findTemplate(db, { appId: 'app', channel: 'sms', locale: String(readLocale(hint)) }))
      ?.text
  expect(await textOf('fra-CI')).toBe('{{code}} fra-CI')
  expect(await textOf('fr-FR')).toBe('{{code}} fra')
  expect(await textOf('fil-PH')).toBe('{{code}} fil')
  // Both were put: the newer one holds.
  expect(await textOf('in_ID')).toBe('{{code}} id')
  expect(await textOf('de')).toBe('{{code}} en')
})
