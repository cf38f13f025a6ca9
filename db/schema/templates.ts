import { integer, pgTable, primaryKey, text } from 'drizzle-orm/pg-core'
import { apps } from './apps'
import { at, channelType } from './types'

/**
 * What apps say in their own words. Rows are only added, each under the next revision of its app: a request keeps the
 * revision that it was made at, and with it the wording.
 */
export const messageTemplates = pgTable(
  'message_templates',
  {
    appId: text('app_id')
      .notNull()
      .references(() => apps.id),
    channel: channelType().notNull(),
    /** BCP 47 in its canonical form. */
    locale: text().notNull(),
    revision: integer().notNull(),
    /** Null: taken back. */
    text: text(),
    subject: text(),
    html: text(),
    keyPrompt: text('key_prompt'),
    createdAt: at('created_at').notNull().defaultNow(),
  },
  (table) => [primaryKey({ columns: [table.appId, table.channel, table.locale, table.revision] })],
)
