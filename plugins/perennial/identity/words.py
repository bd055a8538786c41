"""What is known of mail providers, role addresses and names: the words that the rules of identity stand on."""

from __future__ import annotations


def words(text: str) -> frozenset[str]:
    """The words of the text."""
    return frozenset(text.split())


# Domains of one provider that reach one mailbox.
DOMAIN_ALIASES: dict[str, str] = {
    "googlemail.com": "gmail.com",
    "ya.ru": "yandex.ru",
    "yandex.com": "yandex.ru",
    "yandex.by": "yandex.ru",
    "yandex.kz": "yandex.ru",
    "yandex.ua": "yandex.ru",
    "pm.me": "proton.me",
    "protonmail.com": "proton.me",
}

# Providers that say that dots before the @ do not count (https://support.google.com/mail/answer/7436150).
DOTS_IGNORED = frozenset({"gmail.com"})

# Providers that deliver name+anything@ to name@.
PLUS_TAGS = words(
    """
    gmail.com outlook.com hotmail.com live.com msn.com icloud.com me.com mac.com fastmail.com proton.me
    yandex.ru
    """
)

# Mailboxes that anyone may open: their domain says nothing of a company.
FREE_MAIL = PLUS_TAGS | words(
    """
    yahoo.com yahoo.co.uk yahoo.fr yahoo.de ymail.com aol.com gmx.de gmx.net gmx.com web.de t-online.de mail.ru
    bk.ru inbox.ru list.ru rambler.ru mail.com zoho.com orange.fr wanadoo.fr free.fr laposte.net libero.it
    seznam.cz wp.pl onet.pl interia.pl qq.com 163.com 126.com hotmail.co.uk hotmail.fr outlook.fr outlook.de
    btinternet.com comcast.net verizon.net att.net sbcglobal.net cox.net bellsouth.net example.com example.org
    example.net
    """
)

# Addresses of a role, not of a person: before the @, whole or as a part (sales-eu@, info.berlin@).
ROLE_WORDS = words(
    """
    abuse accounting accounts admin administrator all anfrage billing booking bookings buchhaltung business care
    career careers commercial compliance contact contacts contacto contato customer customers customerservice
    desk direct einkauf enquiries enquiry events feedback finance frontdesk general hello help helpdesk
    hostmaster hr hotel info information inquiry invoice invoices it jobs kontakt legal list mail mailbox mailer
    marketing media news newsletter nobody noc noemail nomail none noreply office online order orders pay
    payments post postmaster press privacy procurement purchase purchasing recruiting reception registration
    reply root sales secretary security service services shipping shop spam staff stock store subscribe support
    team tech test unknown unsubscribe user verkauf vertrieb web webmaster welcome zakaz
    """
)

# What stands where there is no address.
NOT_A_DOMAIN = frozenset({"none", "null", "test.com", "noemail.com", "nomail.com", "email.com", "invalid"})

TITLES = words(
    """
    mr mrs ms miss dr prof sir herr frau monsieur madame mme m. jr sr
    """
)

# Short forms that one person uses beside the long one; each belongs to the first name of its line.
_NICKNAMES = """
    alexander alex alexandr aleksandr aleksander sasha sandy lex
    alexandra aleksandra
    alexey aleksei aleksey alexei lesha
    andrew andy drew
    andrei andrey andrej
    anthony tony
    benjamin ben benny
    catherine katherine kate katie cathy kathy kathryn
    charles charlie chuck
    christopher chris
    daniel dan danny
    david dave
    dmitri dmitry dmitrii dmitriy dima
    edward ed eddie ted
    ekaterina katerina katya
    elena lena yelena
    elizabeth liz beth lizzie betty eliza
    evgeni evgeny evgenii evgeniy yevgeny eugene zhenya
    gregory greg
    ivan vanya
    james jim jimmy jamie
    jennifer jen jenny
    john johnny jack
    jonathan jon
    joseph joe joey
    joshua josh
    lawrence larry
    margaret maggie peggy meg
    maria masha mariya mariia
    matthew matt
    michael mike mick mickey
    mikhail misha mihail
    natalia natasha natalya nataliya
    nicholas nick nicolas
    nikolai nikolay kolya
    olga olya
    patricia pat patty trish
    patrick paddy
    peter pete
    pyotr petr petya
    rebecca becky
    richard rick dick richie
    robert bob rob bobby robbie
    samuel sam sammy
    sergei sergey sergej seryozha
    stephen steven steve
    susan sue susie
    svetlana sveta
    tatiana tatyana tanya
    theodore theo
    thomas tom tommy
    timothy tim
    victoria vicky
    vladimir volodya vova
    william will bill billy willy
    yulia julia yuliya iuliia
    yuri yury iurii yuriy
"""
NICKNAMES: dict[str, str] = {
    short: line.split()[0] for line in _NICKNAMES.strip().splitlines() for short in line.split()
}

# Passport style, for comparing alone: nobody is addressed by it.
CYRILLIC: dict[str, str] = dict(
    zip(
        "абвгдежзийклмнопрстуфхцчшщъыьэюяёіїєґў",
        "a b v g d e zh z i i k l m n o p r s t u f kh ts ch sh shch _ y _ e yu ya e i i e g u".replace("_", "").split(
            " "
        ),
        strict=True,
    )
)
