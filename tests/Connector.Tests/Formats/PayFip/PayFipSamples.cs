namespace Intercommunalite.Connector.Tests.Formats.PayFip;

/// <summary>One answer of the payment page, of somebody who never was, in both of its forms.</summary>
internal static class PayFipSamples
{
    public const string Form =
        "numcli=090909&exer=2026&refdet=FAC20260001&montant=4250&dattrans=02072026&heurtrans=0905&resultrans=P&saisie=W&mel=lea%40example.org&idop=0f7a-1";

    public const string Json =
        """{"numcli":"090909","exer":"2026","refdet":"FAC20260001","objet":"Cantine","montant":"4250","dattrans":"02072026","heurtrans":"0905","resultrans":"P","saisie":"W","mel":"lea@example.org","idOp":"0F7A-1"}""";

    /// <summary>Files of each form.</summary>
    public static IReadOnlyList<string> Files { get; } = [$"{Form}\n{Form}\n", $"[{Json},\n{Json}]"];
}
