"""What other systems call our columns: English, German and Russian names by canonical entity and column.

Names are compared without case, blanks and signs. The first of several columns that fit is taken.
"""

# ruff: noqa: E501 - lists of words, one line each

from __future__ import annotations

import re
import unicodedata

from perennial.contracts.entities import EntityName

_CLIENT = "client id, client, customer id, customer, customer no, kunde, kundennr, kundennummer, kunden id, клиент, код клиента, id клиента, household id, contact id, account, account id, user id"
_PRODUCT = "product id, product, sku, item, item id, stock code, article, artikel, artikelnr, artikelnummer, товар, код товара, артикул, номенклатура, upc, ean"
_PERSON = {
    "first_name": "first name, given name, vorname, имя",
    "last_name": "last name, surname, family name, nachname, familienname, фамилия",
    "email": "email, e mail, mail, email address, e mail adresse, почта, электронная почта, эл почта",
    "phone": "phone, telephone, mobile, phone number, telefon, telefonnummer, handy, телефон, номер телефона, мобильный",
}
_WHEN = "date, time, datum, zeit, zeitpunkt, дата, время, дата и время, created at, timestamp"

_NAMES: dict[EntityName, dict[str, str]] = {
    "order_lines": {
        "order_key": "order id, order, order no, order number, invoice, invoice no, basket id, receipt, transaction id, bestellung, bestellnr, bestellnummer, auftrag, auftragsnr, rechnung, rechnungsnr, beleg, belegnr, bonnr, заказ, номер заказа, код заказа, чек, номер чека, накладная, id, nr, no, number, nummer",
        "client_key": _CLIENT,
        "product_key": _PRODUCT,
        "ordered_at": f"ordered at, order date, sold at, invoice date, sale date, purchase date, order time, bestelldatum, verkaufsdatum, rechnungsdatum, belegdatum, дата заказа, дата продажи, дата чека, {_WHEN}",
        "quantity": "quantity, qty, count, units, menge, anzahl, stueck, количество, кол во, колво",
        "unit_price": "unit price, price, einzelpreis, preis, stueckpreis, цена, цена за единицу",
        "amount": "amount, total, sales value, line total, revenue, sum, value, betrag, summe, umsatz, gesamtpreis, gesamt, сумма, итого, стоимость, выручка",
        "discount_amount": "discount, discount amount, rabatt, nachlass, скидка, сумма скидки",
        "store_key": "store id, store, shop, branch, filiale, filialnr, markt, магазин, код магазина, филиал",
        "product_name": "product name, description, item name, artikelbezeichnung, bezeichnung, artikelname, наименование, название товара, описание",
        "country": "country, land, страна",
        "cost_amount": "cost amount, line cost, cost of goods, cogs, wareneinsatz, себестоимость",
        "unit_cost": "unit cost, cost price, purchase price, einkaufspreis, einstandspreis, закупочная цена",
        "tax_amount": "tax amount, tax, vat amount, mwst betrag, steuerbetrag, сумма ндс",
        "currency": "currency, currency code, waehrung, валюта",
        "sales_channel": "sales channel, order channel, vertriebskanal, verkaufskanal, канал продаж",
        "device": "device, device type, geraet, устройство",
    },
    "products": {
        "product_key": f"{_PRODUCT}, id, nr, код",
        "product_name": "product name, name, description, title, product type, bezeichnung, artikelbezeichnung, artikelname, название, наименование, описание",
        "department": "department, abteilung, sparte, отдел, департамент",
        "category": "category, product category, kategorie, warengruppe, категория, группа",
        "brand": "brand, marke, бренд, марка, торговая марка",
        "manufacturer_key": "manufacturer, manufacturer id, vendor, supplier, hersteller, lieferant, производитель, поставщик",
        "package_size": "package size, size, groesse, packung, packungsgroesse, размер, упаковка, фасовка",
        "product_line": "product line, series, produktlinie, линейка",
        "unit_cost": "unit cost, cost, cost price, standard cost, purchase price, einkaufspreis, einstandspreis, закупочная цена, себестоимость",
        "list_price": "list price, price, sales price, unit price, listenpreis, preis, цена",
        "substitute_group": "substitute group, substitutes, ersatzgruppe, группа замен",
        "term_days": "term days, term, laufzeit, laufzeit tage, срок, срок службы",
    },
    "clients": {
        "client_key": f"{_CLIENT}, id, nr, код",
        **_PERSON,
        "birth_date": "birth date, birthday, date of birth, dob, geburtsdatum, geburtstag, дата рождения, день рождения",
        "signed_up_on": "signed up on, sign up date, signup date, registered, registered at, created at, registrierung, registriert am, angelegt am, kunde seit, дата регистрации, зарегистрирован",
        "country": "country, land, страна",
        "company_name": "company, company name, firma, unternehmen, компания, организация",
        "tax_number": "tax number, vat, vat number, tax id, steuernummer, ust id, инн",
        "card_number": "card number, card, loyalty card, kartennummer, kundenkarte, номер карты, карта",
        "postcode": "postcode, zip, zip code, postal code, plz, postleitzahl, индекс, почтовый индекс",
        "region": "region, state, province, bundesland, регион, область",
        "line_of_business": "line of business, industry, sector, branche, отрасль",
        "employees": "employees, staff, mitarbeiter, mitarbeiterzahl, сотрудники",
        "sex": "sex, gender, geschlecht, anrede, пол",
    },
    "demographics": {
        "client_key": _CLIENT,
        "age_band": "age, age band, alter, altersgruppe, возраст",
        "income_band": "income, income band, einkommen, доход",
        "home_ownership": "home ownership",
        "marital_status": "marital status, familienstand, семейное положение",
        "household_size": "household size, haushaltsgroesse",
        "household_type": "household type, household comp",
        "kids_count": "kids count, kids, kinder, дети",
    },
    "consents": {
        "client_key": _CLIENT,
        "channel": "channel, kanal, канал",
        "purpose": "purpose, zweck, цель",
        "status": "status, consent, einwilligung, статус, согласие",
        "changed_at": f"changed at, consent date, geaendert am, дата изменения, {_WHEN}",
    },
    "contact_persons": {
        "contact_key": "contact id, contact key, contact no, ansprechpartner nr, код контакта, id контакта, id",
        "client_key": "company id, account id, customer id, client id, kundennr, firmennr, код компании, код клиента, company, account",
        "role": "role, job title, title, position, funktion, rolle, должность, роль",
        **_PERSON,
    },
    "deals": {
        "deal_key": "deal id, opportunity id, deal, opportunity, verkaufschance, сделка, id сделки, номер сделки",
        "client_key": f"{_CLIENT}, company",
        "product_key": _PRODUCT,
        "agent_key": "agent, agent id, sales agent, owner, verkaeufer, vertreter, менеджер, ответственный",
        "stage": "stage, deal stage, phase, status, стадия, этап, статус",
        "opened_on": "opened on, engage date, created at, create date, eroeffnet am, дата создания, дата открытия",
        "closed_on": "closed on, close date, abschlussdatum, дата закрытия",
        "amount": "amount, close value, value, betrag, wert, сумма, бюджет",
        "deal_name": "deal name, name, bezeichnung, название",
        "currency": "currency, currency code, waehrung, валюта",
    },
    "agents": {
        "agent_key": "agent id, agent, sales agent, verkaeufer, vertreter, менеджер",
        "agent_name": "agent name, name, название, фио",
        "manager": "manager, vorgesetzter, руководитель",
        "office": "office, regional office, buero, офис",
    },
    "interactions": {
        "interaction_key": "interaction id, ticket id, case id, activity id, event id, call id, vorgang, vorgangsnr, обращение, номер обращения, id",
        "client_key": _CLIENT,
        "interaction_kind": "interaction kind, kind, type, activity type, typ, art, тип, вид",
        "channel": "channel, kanal, канал",
        "happened_at": f"happened at, occurred at, {_WHEN}",
        "score": "score, rating, nps, bewertung, оценка",
        "order_key": "order id, order, bestellnr, номер заказа",
    },
    "campaigns": {
        "campaign_key": "campaign id, campaign, kampagne, кампания, id кампании",
        "campaign_type": "campaign type, type, typ, тип",
        "starts_on": "starts on, start date, start, beginn, startdatum, начало, дата начала",
        "ends_on": "ends on, end date, end, ende, enddatum, конец, дата окончания",
    },
    "campaign_contacts": {
        "campaign_key": "campaign id, campaign, kampagne, кампания",
        "client_key": _CLIENT,
        "contacted_on": f"contacted on, contact date, sent on, kontaktdatum, дата контакта, {_WHEN}",
        "channel": "channel, kanal, канал",
    },
    "redemptions": {
        "client_key": _CLIENT,
        "coupon_key": "coupon, coupon id, coupon upc, gutschein, gutscheinnr, купон, промокод",
        "campaign_key": "campaign id, campaign, kampagne, кампания",
        "redeemed_on": f"redeemed on, redemption date, eingeloest am, дата погашения, {_WHEN}",
    },
    "message_events": {
        "communication_key": "communication id, message id, mail id, email id, send id, nachricht, nachricht id, id сообщения, id письма",
        "client_key": f"{_CLIENT}, recipient id, subscriber id, empfaenger",
        "event_kind": "event kind, event, event type, ereignis, событие, тип события",
        "happened_at": f"happened at, event time, event date, occurred at, {_WHEN}",
        "channel": "channel, kanal, канал",
        "campaign_key": "campaign id, campaign, kampagne, кампания",
        "message_key": "message key, template, template id, creative, vorlage, шаблон",
    },
    "touches": {
        "touch_key": "touch id, session id, visit id, hit id, id визита, id сессии",
        "touched_at": f"touched at, visited at, session start, visit time, started at, {_WHEN}",
        "client_key": _CLIENT,
        "visitor_key": "visitor id, visitor, cookie id, anonymous id, besucher, посетитель",
        "touch_channel": "touch channel, channel, medium, utm medium, traffic source, kanal, канал",
        "touch_kind": "touch kind, kind, type, typ, тип",
        "campaign_key": "campaign id, campaign, utm campaign, kampagne, кампания",
        "device": "device, device type, device category, geraet, устройство",
    },
    "spend": {
        "spent_on": "spent on, spend date, date, day, datum, tag, дата, день",
        "spend_channel": "spend channel, channel, platform, medium, kanal, канал",
        "campaign_key": "campaign id, campaign, kampagne, кампания",
        "amount": "spend, cost, costs, amount, kosten, ausgaben, расход, расходы, затраты",
        "currency": "currency, currency code, waehrung, валюта",
        "impressions": "impressions, views, impressionen, einblendungen, показы",
        "clicks": "clicks, klicks, клики",
    },
    "exchange_rates": {
        "rate_on": "rate date, date, day, valid on, datum, stichtag, дата",
        "currency": "currency, currency code, from currency, waehrung, валюта",
        "rate": "rate, exchange rate, kurs, wechselkurs, курс",
    },
}  # fmt: skip


def plain(name: str) -> str:
    """A name without case, signs, blanks and accents: `Kunden-Nr.` is `kundennr`, `Straße` is `strasse`."""
    spelled = name.casefold()
    for sign, letters in (("ä", "ae"), ("ö", "oe"), ("ü", "ue")):
        spelled = spelled.replace(sign, letters)
    # An accent goes, but not what makes a Russian letter another one.
    kept = "".join(c for c in unicodedata.normalize("NFD", spelled) if not unicodedata.combining(c) or c == "\u0306")
    return re.sub(r"[^\w]|_", "", unicodedata.normalize("NFC", kept))


def names_of(entity: EntityName, column: str) -> list[str]:
    """The plain names that other systems give the column, the likeliest first; its own is the first of all."""
    words = _NAMES.get(entity, {}).get(column, "")
    return list(dict.fromkeys([plain(column), *(plain(word) for word in words.split(","))]))
