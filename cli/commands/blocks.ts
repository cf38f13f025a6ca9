import type { Command } from 'commander'
import { environments } from '../../core/requests/state'
import { BlockBody, blockId, BlocksQuery } from '../../api/contract/blocks'
import { blockAnswerOf } from '../../api/routes/admin/blocks'
import {
  type BlockView,
  findBlock,
  liftBlock,
  listBlocks,
  raiseByHand,
} from '../../db/protection/blocks-by-hand'
import { findApp } from '../../db/apps/apps'
import { withDatabase } from './connection'
import { checked, wholeNumber } from './options'
import { mostListed, printJson, printTable, say, shownOf } from './print'

const actor = 'cli'

interface RaiseOptions {
  app: string
  environment: string
  scope: string
  prefix?: string
  country?: string
  asks?: string
  seconds?: number
  json?: true
}

export const addBlockCommands = (program: Command): void => {
  const blocks = program
    .command('blocks')
    .description('places that no code is sent to, because of fraud')

  blocks
    .command('list')
    .description('shows blocks, newest first; those that stand when nothing else is said')
    .option('--app <app>', 'of this app only')
    .option('--all', 'those too that are over')
    .option('--json', 'print JSON')
    .action((options: { app?: string; all?: true; json?: true }) =>
      withDatabase(async (db) => {
        const { app_id } = checked(BlocksQuery, { app_id: options.app })
        const stands = options.all ? undefined : true
        const found = await listBlocks(db, { appId: app_id, stands, limit: mostListed + 1 })
        const shown = shownOf(found)
        if (options.json) return printJson(shown.map(blockAnswerOf))
        printTable(
          ['BLOCK ID', 'APP', 'ENVIRONMENT', 'SCOPE', 'PLACE', 'RULE', 'ASKS', 'UNTIL', 'REFUSED'],
          shown.map(rowOf),
        )
      }),
    )

  blocks
    .command('lift')
    .description('ends a block, and forgets what its place was found guilty of')
    .argument('<block_id>', 'as "blocks list" shows it')
    .option('--json', 'print JSON')
    .action((text: string, { json }: { json?: true }) =>
      withDatabase(async (db) => {
        const { data: id } = blockId.safeParse(text)
        const found = id === undefined ? undefined : await findBlock(db, id)
        if (!found) throw new Error('There is no such block: "blocks list --all" shows them.')
        const lifted = await liftBlock(db, { id: found.id, actor })
        say(lifted ? `Lifted ${described(found)}.` : `${found.id} does not stand any more.`)
        if (json) printJson(blockAnswerOf(lifted ?? found))
      }),
    )

  addRaiseCommand(blocks)
}

const addRaiseCommand = (blocks: Command): void => {
  blocks
    .command('raise')
    .description('blocks a place by hand')
    .requiredOption('--app <app>', 'the app whose sends it stops')
    .requiredOption('--environment <environment>', environments.join(', '))
    .requiredOption('--scope <scope>', 'block, range, country, cold, app')
    .option('--prefix <prefix>', 'of a block or range: numbers without their last 4 or 6 digits')
    .option('--country <country>', 'two letters, as GH')
    .option('--asks <what>', 'block (when absent) or challenge')
    .option('--seconds <n>', 'how long; until lifted when absent', wholeNumber)
    .option('--json', 'print JSON')
    .action(({ json, ...options }: RaiseOptions) =>
      withDatabase(async (db) => {
        const { app, ...rest } = options
        const body = checked(BlockBody, { app_id: app, ...rest })
        if (!(await findApp(db, app))) throw new Error(`There is no app "${app}".`)
        const { environment, scope, prefix, country, asks = 'block', seconds } = body
        const place = prefix ?? country
        const wish = { appId: app, environment, scope, place, asks, seconds, actor }
        const raised = await raiseByHand(db, wish)
        say(`Raised ${described(raised)}.`)
        if (json) printJson(blockAnswerOf(raised))
        else console.log(raised.id)
      }),
    )
}

const described = ({ id, appId: app, environment, scope, label }: BlockView): string =>
  `the block ${id} of ${label === null ? `the scope ${scope}` : `${scope} ${label}`} of the app ${app} (${environment})`

const rowOf = (block: BlockView): string[] => [
  block.id,
  block.appId,
  block.environment,
  block.scope,
  block.label ?? '-',
  block.rule,
  block.asks,
  block.stands ? (block.until?.toISOString().slice(0, 16) ?? 'it is lifted') : 'over',
  String(block.refused),
]
