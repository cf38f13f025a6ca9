import { Command } from 'commander'
import { alphabets } from '../../core/verify/alphabet'
import { changeApp, createApp, listApps, type AppView } from '../../db/apps/apps'
import { AppBody, AppChanges } from '../../api/contract/admin'
import { appAnswerOf, settingsOf } from '../../api/routes/admin/translate'
import { withDatabase } from './connection'
import { checked, onOff, textOrNone, wholeNumber, words } from './options'
import { mostListed, printJson, printTable, say, shownOf } from './print'

interface SettingOptions {
  name?: string
  brand?: string
  defaultCountry?: string
  codeLength?: number
  codeAlphabet?: string
  maxExpirySeconds?: number
  highRiskExpirySeconds?: number
  queueWhenDown?: boolean
  consentRequired?: boolean
  lengthenUnderGuessing?: boolean
  region?: string
  autofillDomain?: string
  androidAppHash?: string
  pageChannels?: string
  json?: true
}

const withSettings = (command: Command): Command =>
  command
    .option('--name <name>', 'for people who administer it')
    .option('--brand <brand>', 'what messages call the sender')
    .option('--default-country <country>', 'two letters, or none')
    .option('--code-length <n>', '6 to 10', wholeNumber)
    .option('--code-alphabet <alphabet>', alphabets.join(' or '))
    .option('--max-expiry-seconds <n>', '30 to 600', wholeNumber)
    .option('--high-risk-expiry-seconds <n>', '30 to 600', wholeNumber)
    .option('--queue-when-down <on|off>', 'accept sends while Temporal is down', onOff)
    .option('--consent-required <on|off>', 'refuse sends without a consent record', onOff)
    .option('--lengthen-under-guessing <on|off>', 'longer codes while many are guessed', onOff)
    .option('--region <region>', 'only processes of this OTPILOT_REGION serve it, or none')
    .option('--autofill-domain <host>', 'whose pages fill codes in, or none')
    .option('--android-app-hash <hash>', 'the Android app that fills codes in, or none')
    .option('--page-channels <channels>', 'that pages may name, as in sms,whatsapp, or none')
    .option('--json', 'print JSON')

const wordsOrNone = (text: string | undefined): string[] | null | undefined => {
  const named = textOrNone(text)
  return typeof named === 'string' ? words(named) : named
}

const fieldsOf = (options: SettingOptions) => ({
  name: options.name,
  brand: options.brand,
  default_country: textOrNone(options.defaultCountry),
  code_length: options.codeLength,
  code_alphabet: options.codeAlphabet,
  max_expiry_seconds: options.maxExpirySeconds,
  high_risk_expiry_seconds: options.highRiskExpirySeconds,
  queue_when_down: options.queueWhenDown,
  consent_required: options.consentRequired,
  lengthen_under_guessing: options.lengthenUnderGuessing,
  region: textOrNone(options.region),
  autofill_domain: textOrNone(options.autofillDomain),
  android_app_hash: textOrNone(options.androidAppHash),
  page_channels: wordsOrNone(options.pageChannels),
})

export const addAppCommands = (program: Command): void => {
  const apps = program.command('apps').description('the services that send codes')

  withSettings(apps.command('create').argument('<app>', 'its id, such as shop'))
    .description('makes an app')
    .action((id: string, options: SettingOptions) =>
      withDatabase(async (db) => {
        const body = checked(AppBody, {
          ...fieldsOf(options),
          app_id: id,
          name: options.name ?? id,
        })
        const app = await createApp(db, { ...settingsOf(body), id, name: body.name })
        if (!app) throw new Error(`There is an app "${id}" already; "apps set" changes it.`)
        report(app, options, `Made the app ${id}.`)
      }),
    )

  withSettings(apps.command('set').argument('<app>', 'its id'))
    .description('changes settings of an app; what is not named stays')
    .action((id: string, options: SettingOptions) =>
      withDatabase(async (db) => {
        const changes = checked(AppChanges, fieldsOf(options))
        const names = Object.entries(changes).filter(([, value]) => value !== undefined)
        if (names.length === 0) throw new Error('Name a setting to change; see --help.')
        const app = await changeApp(db, id, settingsOf(changes))
        if (!app) throw new Error(`There is no app "${id}".`)
        report(app, options, `Changed ${names.map(([name]) => name).join(', ')} of the app ${id}.`)
      }),
    )

  apps
    .command('list')
    .description('shows the apps and their settings')
    .option('--json', 'print JSON')
    .action(({ json }: { json?: true }) =>
      withDatabase(async (db) => {
        const all = shownOf(await listApps(db, { limit: mostListed + 1 }))
        if (json) return printJson(all.map(appAnswerOf))
        printTable(['APP', 'NAME', 'COUNTRY', 'CODES', 'LIFE', 'REGION'], all.map(rowOf))
      }),
    )
}

const report = (app: AppView, { json }: { json?: true }, sentence: string): void => {
  say(sentence)
  if (json) printJson(appAnswerOf(app))
}

const rowOf = (app: AppView): string[] => [
  app.id,
  app.name,
  app.defaultCountry ?? '-',
  `${app.codeLength} ${app.codeAlphabet}`,
  `${app.maxExpirySeconds} s`,
  app.region ?? '-',
]
