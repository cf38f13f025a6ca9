import { existsSync } from 'node:fs'
import type { Command } from 'commander'
import { makeKeyFile } from '../../codes/key-file'

export const addKeyFileCommands = (program: Command): void => {
  program
    .command('make-key-file')
    .description('writes new random keys to a file, or leaves the file that is there')
    .argument('<file>')
    .action((file: string) => {
      if (!existsSync(file)) makeKeyFile(file)
    })
}
