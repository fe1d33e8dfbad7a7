"""Country names as people and CRMs write them, turned into ISO 3166 alpha-2 codes such as `DE`.

Phone numbers written without a country code are read with these codes. Known are the codes themselves (two
and three letters), the English short names, common aliases, and the native names of the larger countries.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

# alpha-2, alpha-3, then every name separated by "|". A name with a comma is also known with its parts
# swapped. A country with many names may take several lines.
_COUNTRIES = """
AD AND Andorra
AE ARE United Arab Emirates|UAE|Emirates|الإمارات العربية المتحدة|الإمارات
AF AFG Afghanistan|افغانستان
AG ATG Antigua and Barbuda|Antigua
AI AIA Anguilla
AL ALB Albania|Shqipëria
AM ARM Armenia|Հայաստան
AO AGO Angola
AQ ATA Antarctica
AR ARG Argentina|Argentine Republic
AS ASM American Samoa
AT AUT Austria|Österreich|Oesterreich
AU AUS Australia
AW ABW Aruba
AX ALA Åland Islands|Aland|Ahvenanmaa
AZ AZE Azerbaijan|Azərbaycan
BA BIH Bosnia and Herzegovina|Bosnia|Bosna i Hercegovina
BB BRB Barbados
BD BGD Bangladesh|বাংলাদেশ
BE BEL Belgium|België|Belgique|Belgien
BF BFA Burkina Faso
BG BGR Bulgaria|България
BH BHR Bahrain|البحرين
BI BDI Burundi
BJ BEN Benin
BL BLM Saint Barthélemy|St Barts
BM BMU Bermuda
BN BRN Brunei Darussalam|Brunei
BO BOL Bolivia, Plurinational State of|Bolivia
BQ BES Bonaire, Sint Eustatius and Saba|Bonaire|Caribbean Netherlands
BR BRA Brazil|Brasil
BS BHS Bahamas
BT BTN Bhutan
BV BVT Bouvet Island
BW BWA Botswana
BY BLR Belarus|Беларусь
BZ BLZ Belize
CA CAN Canada
CC CCK Cocos (Keeling) Islands|Cocos Islands
CD COD Congo, Democratic Republic of the|DR Congo|DRC|Congo-Kinshasa
CF CAF Central African Republic
CG COG Congo|Congo, Republic of the|Congo-Brazzaville
CH CHE Switzerland|Schweiz|Suisse|Svizzera
CI CIV Côte d'Ivoire|Ivory Coast
CK COK Cook Islands
CL CHL Chile
CM CMR Cameroon|Cameroun
CN CHN China|China, People's Republic of|PRC|Mainland China|中国|中华人民共和国
CO COL Colombia
CR CRI Costa Rica
CU CUB Cuba
CV CPV Cabo Verde|Cape Verde
CW CUW Curaçao
CX CXR Christmas Island
CY CYP Cyprus|Κύπρος
CZ CZE Czechia|Czech Republic|Česko|Česká republika
DE DEU Germany|Deutschland|Germany, Federal Republic of|Bundesrepublik Deutschland|Allemagne|Alemania
DJ DJI Djibouti
DK DNK Denmark|Danmark
DM DMA Dominica
DO DOM Dominican Republic|República Dominicana
DZ DZA Algeria|Algérie|الجزائر
EC ECU Ecuador
EE EST Estonia|Eesti
EG EGY Egypt|مصر
EH ESH Western Sahara
ER ERI Eritrea
ES ESP Spain|España|Espagne|Spanien
ET ETH Ethiopia|ኢትዮጵያ
FI FIN Finland|Suomi
FJ FJI Fiji
FK FLK Falkland Islands (Malvinas)|Falkland Islands
FM FSM Micronesia, Federated States of|Micronesia
FO FRO Faroe Islands|Faeroe Islands|Føroyar
FR FRA France|French Republic|Frankreich|Francia
GA GAB Gabon
GB GBR United Kingdom|UK|United Kingdom of Great Britain and Northern Ireland|Great Britain|Britain|England
GB GBR Scotland|Wales|Northern Ireland|Reino Unido|Royaume-Uni|Vereinigtes Königreich
GD GRD Grenada
GE GEO Georgia|საქართველო
GF GUF French Guiana
GG GGY Guernsey
GH GHA Ghana
GI GIB Gibraltar
GL GRL Greenland|Kalaallit Nunaat
GM GMB Gambia
GN GIN Guinea
GP GLP Guadeloupe
GQ GNQ Equatorial Guinea
GR GRC Greece|Hellas|Ελλάδα|Hellenic Republic
GS SGS South Georgia and the South Sandwich Islands
GT GTM Guatemala
GU GUM Guam
GW GNB Guinea-Bissau
GY GUY Guyana
HK HKG Hong Kong|Hong Kong SAR|香港
HM HMD Heard Island and McDonald Islands
HN HND Honduras
HR HRV Croatia|Hrvatska
HT HTI Haiti|Haïti
HU HUN Hungary|Magyarország
ID IDN Indonesia
IE IRL Ireland|Éire|Ireland, Republic of
IL ISR Israel|ישראל
IM IMN Isle of Man
IN IND India|Bharat|भारत
IO IOT British Indian Ocean Territory
IQ IRQ Iraq|العراق
IR IRN Iran, Islamic Republic of|Iran|ایران
IS ISL Iceland|Ísland
IT ITA Italy|Italia|Italie|Italien
JE JEY Jersey
JM JAM Jamaica
JO JOR Jordan|الأردن
JP JPN Japan|Nippon|Nihon|日本
KE KEN Kenya
KG KGZ Kyrgyzstan|Кыргызстан
KH KHM Cambodia|កម្ពុជា
KI KIR Kiribati
KM COM Comoros
KN KNA Saint Kitts and Nevis
KP PRK Korea, Democratic People's Republic of|North Korea|DPRK
KR KOR Korea, Republic of|South Korea|Korea|대한민국|한국
KW KWT Kuwait|الكويت
KY CYM Cayman Islands
KZ KAZ Kazakhstan|Қазақстан|Казахстан
LA LAO Lao People's Democratic Republic|Laos|Lao PDR|ລາວ
LB LBN Lebanon|Liban|لبنان
LC LCA Saint Lucia
LI LIE Liechtenstein
LK LKA Sri Lanka|ශ්‍රී ලංකාව
LR LBR Liberia
LS LSO Lesotho
LT LTU Lithuania|Lietuva
LU LUX Luxembourg|Luxemburg|Lëtzebuerg
LV LVA Latvia|Latvija
LY LBY Libya|ليبيا
MA MAR Morocco|Maroc|المغرب
MC MCO Monaco
MD MDA Moldova, Republic of|Moldova
ME MNE Montenegro|Crna Gora
MF MAF Saint Martin (French part)|Saint Martin
MG MDG Madagascar
MH MHL Marshall Islands
MK MKD North Macedonia|Macedonia|Macedonia, the former Yugoslav Republic of|Северна Македонија
ML MLI Mali
MM MMR Myanmar|Burma|မြန်မာ
MN MNG Mongolia|Монгол
MO MAC Macao|Macau|Macao SAR|澳門
MP MNP Northern Mariana Islands
MQ MTQ Martinique
MR MRT Mauritania
MS MSR Montserrat
MT MLT Malta
MU MUS Mauritius
MV MDV Maldives
MW MWI Malawi
MX MEX Mexico|México|Estados Unidos Mexicanos
MY MYS Malaysia
MZ MOZ Mozambique|Moçambique
NA NAM Namibia
NC NCL New Caledonia
NE NER Niger
NF NFK Norfolk Island
NG NGA Nigeria
NI NIC Nicaragua
NL NLD Netherlands|Nederland|Holland|Pays-Bas|Niederlande|Netherlands, Kingdom of the
NO NOR Norway|Norge|Noreg
NP NPL Nepal|नेपाल
NR NRU Nauru
NU NIU Niue
NZ NZL New Zealand|Aotearoa
OM OMN Oman|عمان
PA PAN Panama|Panamá
PE PER Peru|Perú
PF PYF French Polynesia
PG PNG Papua New Guinea
PH PHL Philippines|Pilipinas
PK PAK Pakistan|پاکستان
PL POL Poland|Polska|Polen
PM SPM Saint Pierre and Miquelon
PN PCN Pitcairn
PR PRI Puerto Rico
PS PSE Palestine, State of|Palestine|Palestinian Territory, Occupied|فلسطين
PT PRT Portugal
PW PLW Palau
PY PRY Paraguay
QA QAT Qatar|قطر
RE REU Réunion
RO ROU Romania|România
RS SRB Serbia|Srbija|Србија
RU RUS Russian Federation|Russia|Россия|Российская Федерация
RW RWA Rwanda
SA SAU Saudi Arabia|KSA|Saudi Arabia, Kingdom of|السعودية|المملكة العربية السعودية
SB SLB Solomon Islands
SC SYC Seychelles
SD SDN Sudan|السودان
SE SWE Sweden|Sverige|Schweden
SG SGP Singapore
SH SHN Saint Helena, Ascension and Tristan da Cunha|Saint Helena
SI SVN Slovenia|Slovenija
SJ SJM Svalbard and Jan Mayen
SK SVK Slovakia|Slovensko|Slovak Republic
SL SLE Sierra Leone
SM SMR San Marino
SN SEN Senegal|Sénégal
SO SOM Somalia|Soomaaliya
SR SUR Suriname
SS SSD South Sudan
ST STP Sao Tome and Principe
SV SLV El Salvador
SX SXM Sint Maarten (Dutch part)|Sint Maarten
SY SYR Syrian Arab Republic|Syria|سوريا
SZ SWZ Eswatini|Swaziland
TC TCA Turks and Caicos Islands
TD TCD Chad|Tchad
TF ATF French Southern Territories
TG TGO Togo
TH THA Thailand|ประเทศไทย|ไทย
TJ TJK Tajikistan|Тоҷикистон
TK TKL Tokelau
TL TLS Timor-Leste|East Timor
TM TKM Turkmenistan|Türkmenistan
TN TUN Tunisia|Tunisie|تونس
TO TON Tonga
TR TUR Türkiye|Turkey|Türkei
TT TTO Trinidad and Tobago|Trinidad
TV TUV Tuvalu
TW TWN Taiwan, Province of China|Taiwan|Taiwan, Republic of China|Chinese Taipei|台灣|臺灣
TZ TZA Tanzania, United Republic of|Tanzania
UA UKR Ukraine|Україна|Украина
UG UGA Uganda
UM UMI United States Minor Outlying Islands
US USA U.S.|U.S.A.|United States|United States of America|America|US of A
US USA Estados Unidos|États-Unis|Vereinigte Staaten
UY URY Uruguay
UZ UZB Uzbekistan|Oʻzbekiston|Ўзбекистон
VA VAT Holy See|Holy See (Vatican City State)|Vatican City|Vatican
VC VCT Saint Vincent and the Grenadines
VE VEN Venezuela, Bolivarian Republic of|Venezuela
VG VGB Virgin Islands, British|Virgin Islands (British)
VI VIR Virgin Islands, U.S.|Virgin Islands (U.S.)|US Virgin Islands
VN VNM Viet Nam|Vietnam|Việt Nam
VU VUT Vanuatu
WF WLF Wallis and Futuna
WS WSM Samoa
XK XKX Kosovo|Kosova
YE YEM Yemen|اليمن
YT MYT Mayotte
ZA ZAF South Africa|Suid-Afrika|RSA
ZM ZMB Zambia
ZW ZWE Zimbabwe
"""

# Marks inside a word; every other mark separates words.
_INNER_MARKS = frozenset(".'’‘ʻ")


@lru_cache(maxsize=4096)
@lru_cache(maxsize=1024)
def iso2(country: str) -> str | None:
    """The alpha-2 code for a country's code in any case, or its name in any case, accents and punctuation.

    None if unknown. Codes are taken without punctuation only: `N/A` is not Namibia.
    """
    return _codes().get(country.strip().upper()) or _names().get(_fold(country))


def _fold(name: str) -> str:
    """Letters and digits only, without case, accents, spaces, a `the`, and with `saint` as `st`."""
    decomposed = unicodedata.normalize("NFKD", name.casefold().replace("&", " and "))
    inner = "".join(c for c in decomposed if c not in _INNER_MARKS and not unicodedata.combining(c))
    words = "".join(c if c.isalnum() else " " for c in inner).split()
    return "".join("st" if word == "saint" else word for word in words if word != "the")


@lru_cache(maxsize=1)
def _codes() -> dict[str, str]:
    """Alpha-2 and alpha-3 code → alpha-2 code."""
    return {code: alpha2 for alpha2, alpha3, _ in _countries() for code in (alpha2, alpha3)}


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    """Folded name → alpha-2 code."""
    index: dict[str, str] = {}
    for alpha2, _, names in _countries():
        for name in names.split("|"):
            head, _, tail = name.partition(", ")
            index[_fold(name)] = index[_fold(f"{tail} {head}")] = alpha2
    return index


def _countries() -> list[list[str]]:
    return [line.split(" ", 2) for line in _COUNTRIES.strip().splitlines()]
