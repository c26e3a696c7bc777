using System.Collections.Frozen;

namespace Intercommunalite.ServiceDefaults.Access;

/// <summary>What a caller may be. A caller has one or several of them; nothing follows from none.</summary>
public static class Roles
{
    /// <summary>Software of given communes: hands over their events and files, and sees how far these are.</summary>
    public const string Connector = "connector";

    /// <summary>Agent of given communes: figures of the territory, without persons.</summary>
    public const string CommuneAgent = "commune-agent";

    /// <summary>Agent of the communauté: figures of the territory, and how far the hub has received its communes. Nothing at a connector.</summary>
    public const string EpciAgent = "epci-agent";

    /// <summary>Runs the hub: connects communes, gives rights, replays. Does not see personal data.</summary>
    public const string Administrator = "administrator";

    /// <summary>Data-protection officer (délégué à la protection des données, RGPD art. 37 to 39): rights of people, audit, register.</summary>
    public const string DataProtectionOfficer = "dpo";

    /// <summary>Software of a partner: gets what an agreement in force allows, and nothing without one.</summary>
    public const string Partner = "partner";

    /// <summary>All of them.</summary>
    public static FrozenSet<string> All { get; } = FrozenSet.Create(Connector, CommuneAgent, EpciAgent, Administrator, DataProtectionOfficer, Partner);

    /// <summary>Those that hold for given communes only.</summary>
    public static FrozenSet<string> OfCommunes { get; } = FrozenSet.Create(Connector, CommuneAgent);
}
