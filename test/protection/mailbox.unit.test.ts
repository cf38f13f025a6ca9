import { describe, expect, test } from '@jest/globals'
import { domainOf, limitKeyOf } from '../../core/protection/mailbox'

const keyOf = (value: string) => limitKeyOf({ kind: 'email', value })

describe('limits are counted by mailbox', () => {
  test.each([
    ['ama@example.com', 'ama@example.com'],
    ['ama+0@example.com', 'ama@example.com'],
    ['ama+a+b@example.com', 'ama@example.com'],
    ['Ama+X@Example.COM', 'ama@example.com'],
    ['ama+@example.com', 'ama@example.com'],
    // Dots matter there.
    ['a.ma@example.com', 'a.ma@example.com'],
    ['a.m.a+shop@gmail.com', 'ama@gmail.com'],
    ['ama@googlemail.com', 'ama@gmail.com'],
    ['A.ma@GoogleMail.com', 'ama@gmail.com'],
    ['ama+x@me.com', 'ama@icloud.com'],
    ['Ama@mac.com', 'ama@icloud.com'],
    ['a.ma@icloud.com', 'a.ma@icloud.com'],
    ['ama@pm.me', 'ama@proton.me'],
    ['ama@protonmail.com', 'ama@proton.me'],
    ['ama@ya.ru', 'ama@yandex.ru'],
    ['ama@yandex.com', 'ama@yandex.ru'],
    ['ama@some.me.com', 'ama@some.me.com'],
    // Not Gmail's.
    ['a.ma@mail.gmail.com', 'a.ma@mail.gmail.com'],
    // Nothing would be left of it.
    ['+ama@example.com', '+ama@example.com'],
    ['"a@b"@example.com', '"a@b"@example.com'],
  ])('%s is %s', (address, mailbox) => expect(keyOf(address)).toBe(mailbox))

  test('a phone number is its own, and its subscriber’s under each spelling', () => {
    const ofNumber = (value: string) => limitKeyOf({ kind: 'phone', value })
    expect(ofNumber('+233241234567')).toBe('+233241234567')
    expect(ofNumber('+24106031234')).toBe(ofNumber('+24166031234'))
    expect(ofNumber('+24166031234')).toBe('+24166031234')
  })

  test('a mailbox is its own, too', () => {
    for (const address of [
      'a+b@example.com',
      'a.b+c@googlemail.com',
      'a+b@pm.me',
      '+x+y@example.com',
    ])
      expect(keyOf(keyOf(address))).toBe(keyOf(address))
  })

  test('the domain is what is behind the last @', () =>
    expect(domainOf('"a@b"@Example.com')).toBe('example.com'))
})
