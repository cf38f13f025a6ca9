import { expect, test } from '@jest/globals'
import { readEmail } from '../../api/email-address'
import { readListValue } from '../../api/list-value'
import { Problem } from '../../api/problem'

test.each([
  ['ama@example.com', 'ama@example.com'],
  ['Ama.Owusu+tag@Example.COM', 'ama.owusu+tag@example.com'],
  ["o'brien@example.com", "o'brien@example.com"],
  ['o&leary@example.com', 'o&leary@example.com'],
  ['a/b@example.com', 'a/b@example.com'],
  ['a=b@example.com', 'a=b@example.com'],
  ['a#b@example.com', 'a#b@example.com'],
  ['!$%*?^`{|}~_-@example.com', '!$%*?^`{|}~_-@example.com'],
  ['user@xn--80a1acny.xn--p1ai', 'user@xn--80a1acny.xn--p1ai'],
  ['user@россия.рф', 'user@xn--h1alffa9f.xn--p1ai'],
  ['user@münchen.example', 'user@xn--mnchen-3ya.example'],
  ['user@MÜNCHEN.example', 'user@xn--mnchen-3ya.example'],
  ['user@例え。テスト', 'user@xn--r8jz45g.xn--zckzah'],
  ['user@straße.example', 'user@xn--strae-oqa.example'],
  ['user@a.b.c.museum', 'user@a.b.c.museum'],
  ['user@1.example', 'user@1.example'],
  ['da.me.@docomo.ne.jp', 'da.me.@docomo.ne.jp'],
  ['a..b@ezweb.ne.jp', 'a..b@ezweb.ne.jp'],
  ['taro...@t.vodafone.ne.jp', 'taro...@t.vodafone.ne.jp'],
  ['  ama@example.com.', 'ama@example.com'],
  ['ａｍａ＠ｅｘａｍｐｌｅ．ｃｏｍ', 'ama@example.com'],
  [`${'a'.repeat(64)}@example.com`, `${'a'.repeat(64)}@example.com`],
])('%s is %s', (typed, address) => {
  expect(readEmail(typed)).toBe(address)
})

test.each([
  '',
  'ama',
  '@example.com',
  'ama@',
  'ama@localhost',
  'ama@[192.0.2.1]',
  'ama@192.0.2.1',
  'ama@0x7f.1',
  'ama@exa%6dple.com',
  'ama@-a.example',
  'ama@a_b.example',
  'ama@example.c',
  'ama@example.123',
  'ama@exa mple.com',
  'a b@example.com',
  'a@b@example.com',
  '.ama@example.com',
  'ama.@example.com',
  'a..b@example.com',
  '.ama@docomo.ne.jp',
  '"a b"@example.com',
  'Ama <ama@example.com>',
  'ama(home)@example.com',
  'амa@example.com',
  'ama@example.com\r\nBcc: b@example.com',
  'ama\0@example.com',
  `${'a'.repeat(65)}@example.com`,
  `ama@${'a'.repeat(64)}.example`,
  `ama@${'a.'.repeat(130)}example`,
])('%j is refused', (typed) => {
  expect(() => readEmail(typed)).toThrow(expect.objectContaining({ code: 'INVALID_EMAIL' }))
})

test('the part at fault is said, and nothing of it', () => {
  const detailOf = (typed: string) => {
    try {
      return readEmail(typed)
    } catch (error) {
      return error instanceof Problem ? error.message : ''
    }
  }
  expect(detailOf('"canary"@example.com')).toContain('Quoted names')
  expect(detailOf('канарейка@example.com')).toContain('ASCII')
  expect(detailOf('canary@exa mple')).toContain('no such domain')
  expect(detailOf(`${'canary'.repeat(20)}@example.com`)).toContain('at most 254')
})

test('domains of lists are read in the same way', () => {
  const read = (value: string) => readListValue('domain', value, null).value
  expect(['Example.com', 'россия.рф', 'ｍｕｎｃｈ.example'].map(read)).toEqual([
    'example.com',
    'xn--h1alffa9f.xn--p1ai',
    'munch.example',
  ])
})
