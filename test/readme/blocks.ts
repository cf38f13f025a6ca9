/** The shell blocks of a Markdown text, in their order, without their fences. */
export const shellBlocks = (markdown: string): string[] =>
  [...markdown.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, block = '']) => block)

/** What a newcomer pastes, in order: the start, then everything else but the tests. */
export function readmeSession(markdown: string): { start: string; pasted: string[] } {
  const [start, ...rest] = shellBlocks(markdown).filter((block) => block.trim() !== 'npm test')
  if (start === undefined) throw new Error('README.md has no shell block to start with.')
  return { start, pasted: rest }
}
