import type { Language } from '../language'

/** Digits stay Western, as codes are. The sms is short because 70 characters of this script make a part. */
export const ar: Language = {
  direction: 'rtl',
  lifetime: (minutes) => {
    if (minutes === 1) return 'دقيقة واحدة'
    if (minutes === 2) return 'دقيقتين'
    return `${minutes} ${minutes % 100 >= 3 && minutes % 100 <= 10 ? 'دقائق' : 'دقيقة'}`
  },
  comma: '،',
  warnings: ['تشارك', 'أحد', 'سري', 'تخبر', 'تعط'],
  sms: 'رمز {{brand}} هو {{code}}، صالح {{lifetime}}. لا تشاركه.',
  whatsapp: 'رمزك لدى {{brand}} هو {{code}}. صالح لمدة {{lifetime}}. لا تشاركه مع أحد.',
  voice: {
    text: 'رمزك لدى {{brand}} هو {{code}}. صالح لمدة {{lifetime}}. لا تخبر به أحدا.',
    keyPrompt: 'هذه مكالمة من {{brand}} لإبلاغك برمزك. لسماعه اضغط أي مفتاح.',
  },
  email: {
    subject: 'رمزك لدى {{brand}}',
    text: [
      'رمزك لدى {{brand}} هو {{code}}.',
      'صالح لمدة {{lifetime}}. لا تشاركه مع أحد: لن يطلبه منك أحد من {{brand}} أبدا.',
      'إذا لم تطلب رمزا فتجاهل هذه الرسالة.',
    ].join('\n\n'),
  },
  ussd: undefined,
}
