using System.Text;

namespace Intercommunalite.Hub.Agreements;

/// <summary>The register as Markdown.</summary>
internal static class RegisterText
{
    private const string Special = @"\`*_{}[]#|~!";

    /// <summary>Writes it.</summary>
    public static string Of(Register register)
    {
        var text = new StringBuilder();
        Line($"# Registre des activités de traitement");
        Line("");
        Line($"{Plain(register.Territory)}, SIREN {register.Siren} – établi le {Register.Day(register.On)} (RGPD, art. 30)");
        Line("");
        Fact("Responsable et sous-traitant", register.Roles);
        Fact("Contact", register.Contact ?? "à compléter : Register__Contact");
        Fact("Délégué à la protection des données", register.DataProtectionOfficer ?? "à compléter : Register__DataProtectionOfficer");
        Fact("Transferts hors de l’Union européenne", Register.Transfers);
        Title(2, "Mesures de sécurité");
        foreach (var measure in Register.Measures) Line($"- {Plain(measure)}");
        Title(2, "Traitements");
        foreach (var activity in register.Activities)
        {
            Title(3, activity.Name);
            Fact("Finalité", activity.Purpose);
            Fact("Base légale", activity.LegalGround);
            Fact("Destinataires par convention en vigueur", activity.Recipients.Count == 0 ? "aucun" : string.Join(", ", activity.Recipients));
            Line("");
            Row("Données", "Source", "Personnes et catégories de données", "Conservation");
            Line("| --- | --- | --- | --- |");
            foreach (var kept in activity.Records) Row(kept.Name, kept.Source, string.Join(" ; ", kept.Persons), kept.Retention);
        }

        Title(2, "Destinataires (conventions)");
        if (register.Recipients.Count == 0) Line("Aucune convention.");
        foreach (var recipient in register.Recipients)
        {
            Title(3, $"{recipient.Partner} – {recipient.Title}");
            Fact("Convention", $"{recipient.Id}, {recipient.StateName}, {recipient.Period}");
            Fact("Délibération", recipient.Deliberation ?? "–");
            Fact("Contact", recipient.Contact ?? "–");
            Fact("Finalité", recipient.Purpose);
            Fact("Base légale", recipient.LegalGround);
            Fact("Communes", string.Join(", ", recipient.Communes));
            Line("");
            Row("Événements", "Faits", "Données personnelles");
            Line("| --- | --- | --- |");
            foreach (var shared in recipient.Shared)
                Row(shared.Name, shared.Facts.Count == 0 ? "aucun" : string.Join(", ", shared.Facts), shared.Persons.Count == 0 ? "aucune" : string.Join(" ; ", shared.Persons));
        }

        return text.ToString();

        void Line(string line) => text.Append(line).Append('\n');
        void Title(int level, string title) => text.Append('\n').Append('#', level).Append(' ').Append(Plain(title)).Append("\n\n");
        void Fact(string name, string value) => Line($"- **{name}** : {Plain(value)}");
        void Row(params string[] cells) => Line($"| {string.Join(" | ", cells.Select(Plain))} |");
    }

    // What people wrote stays text, whatever it looks like.
    private static string Plain(string value)
    {
        var plain = new StringBuilder(value.Length);
        foreach (var c in value)
        {
            if (Special.Contains(c, StringComparison.Ordinal)) plain.Append('\\');
            plain.Append(c switch { '<' => "&lt;", '>' => "&gt;", '&' => "&amp;", _ => c.ToString() });
        }

        return plain.ToString();
    }
}
