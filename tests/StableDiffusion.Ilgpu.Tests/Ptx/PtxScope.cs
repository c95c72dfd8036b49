namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>What is declared between two braces.</summary>
internal sealed class PtxScope(PtxScope? parent)
{
    private readonly Dictionary<string, Slot> names = [];
    private readonly Dictionary<string, int> labels = [];
    private readonly Dictionary<string, string[]> tables = [];

    public PtxScope? Parent => parent;

    /// <summary>A register, or the constant that holds a variable's address.</summary>
    public void Declare(string name, Slot slot)
    {
        if (!names.TryAdd(name, slot))
        {
            throw new PtxException($"{name} is declared twice in one scope");
        }
    }

    public void DeclareLabel(string name, int instruction)
    {
        if (!labels.TryAdd(name, instruction))
        {
            throw new PtxException($"the label {name} stands twice in one scope");
        }
    }

    /// <summary>The labels that <c>.branchtargets</c> lists under a name.</summary>
    public void DeclareTable(string name, string[] targets) => tables[name] = targets;

    public Slot? Find(string name) => names.TryGetValue(name, out var slot) ? slot : parent?.Find(name);

    public int? FindLabel(string name) => labels.TryGetValue(name, out var instruction) ? instruction : parent?.FindLabel(name);

    public string[]? FindTable(string name) => tables.TryGetValue(name, out var targets) ? targets : parent?.FindTable(name);
}
