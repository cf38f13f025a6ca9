export const templateDatabase = 'otpilot_template'
