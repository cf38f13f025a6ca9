-- Channels that a send with a publishable key may name; null: all, as before.
ALTER TABLE "apps" ADD COLUMN "page_channels" text[];
