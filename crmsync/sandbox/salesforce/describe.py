"""The metadata documents: the list of objects, and describe for one of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from crmsync.sandbox.salesforce.schema import ENTITIES, ID_TYPES, NUMBER_TYPES, TEXT_TYPES, Entity, Field
from crmsync.sandbox.salesforce.tables import Row

_SOAP_TYPES = {
    "boolean": "xsd:boolean",
    "int": "xsd:int",
    "date": "xsd:date",
    "datetime": "xsd:dateTime",
    "address": "urn:address",
}
_UNGROUPABLE = (NUMBER_TYPES - {"int"}) | {"datetime", "address"}
_MASTER_RECORD_TYPE: Row = {
    "Id": "012000000000000AAA",
    "Name": "Master",
    "DeveloperName": "Master",
    "SobjectType": None,
    "IsActive": True,
}
_PERSON_NAMES = {"Salutation": "personname", "FirstName": "personname", "LastName": "personname"}


def global_describe(entities: Iterable[Entity], base: str) -> dict[str, Any]:
    """`/sobjects`. `base` is the path of the API version, `/services/data/v59.0`."""
    return {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": [_flags(each, base) for each in entities]}


def describe(
    entity: Entity, visible: Iterable[Field], record_types: Iterable[Row], base: str, host: str
) -> dict[str, Any]:
    """`/sobjects/X/describe` with the fields that the running user may see. `record_types` are RecordType rows."""
    flags = _flags(entity, base)
    page = f"{host}/{{ID}}"
    return {
        "actionOverrides": [],
        "childRelationships": _children(entity),
        "compactLayoutable": True,
        "defaultImplementation": None,
        "extendedBy": None,
        "extendsInterfaces": None,
        "fields": [_field(field) for field in visible],
        "implementedBy": None,
        "implementsInterfaces": None,
        "listviewable": None,
        "lookupLayoutable": None,
        "namedLayoutInfos": [],
        "networkScopeFieldName": None,
        "recordTypeInfos": [
            _record_type(row, flags["urls"]["describe"])
            for row in (*record_types, _MASTER_RECORD_TYPE)
            if row["SobjectType"] in (entity.name, None)
        ],
        "searchLayoutable": True,
        "sobjectDescribeOption": "FULL",
        "supportedScopes": [{"label": f"All {entity.plural.lower()}", "name": "everything"}],
        **flags,
        "urls": flags["urls"]
        | {
            "uiDetailTemplate": page,
            "uiEditTemplate": f"{page}/e",
            "uiNewRecord": f"{host}/{entity.prefix}/e",
        },
    }


def _flags(entity: Entity, base: str) -> dict[str, Any]:
    path = f"{base}/sobjects/{entity.name}"
    return {
        "activateable": False,
        "associateEntityType": None,
        "associateParentEntity": None,
        "createable": True,
        "custom": False,
        "customSetting": False,
        "deepCloneable": False,
        "deletable": entity.deletable,
        "deprecatedAndHidden": False,
        "feedEnabled": True,
        "hasSubtypes": False,
        "isInterface": False,
        "isSubtype": False,
        "keyPrefix": entity.prefix,
        "label": entity.name,
        "labelPlural": entity.plural,
        "layoutable": True,
        "mergeable": entity.deletable,
        "mruEnabled": True,
        "name": entity.name,
        "queryable": True,
        "replicateable": True,
        "retrieveable": True,
        "searchable": True,
        "triggerable": True,
        "undeletable": entity.deletable,
        "updateable": True,
        "urls": {
            "compactLayouts": f"{path}/describe/compactLayouts",
            "rowTemplate": f"{path}/{{ID}}",
            "approvalLayouts": f"{path}/describe/approvalLayouts",
            "listviews": f"{path}/listviews",
            "describe": f"{path}/describe",
            "quickActions": f"{path}/quickActions",
            "layouts": f"{path}/describe/layouts",
            "sobject": path,
        },
    }


def _field(field: Field) -> dict[str, Any]:
    number = field.type in NUMBER_TYPES
    return {
        "aggregatable": field.filterable and field.type not in ("boolean", "address"),
        "aiPredictionField": False,
        "autoNumber": False,
        "byteLength": 18 if field.type in ID_TYPES else field.length * 3,
        "calculated": field.formula is not None,
        "calculatedFormula": field.formula,
        "cascadeDelete": False,
        "caseSensitive": False,
        "compoundFieldName": field.compound,
        "controllerName": None,
        "createable": field.writable,
        "custom": field.name.endswith("__c"),
        "defaultValue": False if field.type == "boolean" else None,
        "defaultValueFormula": None,
        "defaultedOnCreate": field.defaulted,
        "dependentPicklist": False,
        "deprecatedAndHidden": False,
        "digits": 8 if field.type == "int" else 0,
        "displayLocationInDecimal": False,
        "encrypted": False,
        "externalId": False,
        "extraTypeInfo": _extra_type(field),
        "filterable": field.filterable,
        "filteredLookupInfo": None,
        "formulaTreatNullNumberAsZero": False,
        "groupable": field.filterable and field.type not in _UNGROUPABLE,
        "highScaleNumber": False,
        "htmlFormatted": False,
        "idLookup": field.type in ("id", "email"),
        "inlineHelpText": None,
        "label": field.label,
        "length": field.length,
        "mask": None,
        "maskType": None,
        "name": field.name,
        "nameField": field.name_field,
        "namePointing": False,
        "nillable": field.nillable,
        "permissionable": field.writable and field.nillable and field.compound != "Name",
        "picklistValues": [
            {"active": True, "defaultValue": False, "label": value, "validFor": None, "value": value}
            for value in field.picklist
        ],
        "polymorphicForeignKey": False,
        "precision": 18 if number and field.type != "int" else 0,
        "queryByDistance": field.type == "address",
        "referenceTargetField": None,
        "referenceTo": [field.reference] if field.reference else [],
        "relationshipName": field.relationship,
        "relationshipOrder": None,
        "restrictedDelete": False,
        "restrictedPicklist": field.country_picklist,
        "scale": 15 if field.type == "double" else 0,
        "searchPrefilterable": field.type == "reference" and field.writable and field.nillable,
        "soapType": _soap_type(field),
        "sortable": field.sortable,
        "type": field.type,
        "unique": False,
        "updateable": field.writable,
        "writeRequiresMasterRead": False,
    }


def _soap_type(field: Field) -> str:
    if field.type in ID_TYPES:
        return "tns:ID"
    return "xsd:string" if field.type in TEXT_TYPES else _SOAP_TYPES.get(field.type, "xsd:double")


def _extra_type(field: Field) -> str | None:
    if field.type == "textarea":
        return "plaintextarea"
    return "imageurl" if field.name == "PhotoUrl" else _PERSON_NAMES.get(field.name)


def _children(entity: Entity) -> list[dict[str, Any]]:
    return [
        {
            "cascadeDelete": cascades(child, field),
            "childSObject": child.name,
            "deprecatedAndHidden": False,
            "field": field.name,
            "junctionIdListNames": [],
            "junctionReferenceTo": [],
            "relationshipName": child.plural if cascades(child, field) else None,
            "restrictedDelete": False,
        }
        for child in ENTITIES.values()
        for field in child.fields.values()
        if field.reference == entity.name
    ]


def cascades(child: Entity, field: Field) -> bool:
    """Whether deleting the parent deletes the child: an account takes its contacts with it."""
    return child.name == "Contact" and field.name == "AccountId"


def _record_type(row: Row, describe_path: str) -> dict[str, Any]:
    master = row is _MASTER_RECORD_TYPE
    return {
        "active": row["IsActive"],
        "available": True,
        "defaultRecordTypeMapping": master,
        "developerName": row["DeveloperName"],
        "master": master,
        "name": row["Name"],
        "recordTypeId": row["Id"],
        "urls": {"layout": f"{describe_path}/layouts/{row['Id']}"},
    }
