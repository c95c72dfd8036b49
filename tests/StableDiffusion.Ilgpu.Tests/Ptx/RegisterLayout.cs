namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>Gives registers, constants and special registers their slots.</summary>
internal sealed class RegisterLayout
{
    private readonly Dictionary<(ulong Value, int Bits), Slot> constants = [];
    private readonly Dictionary<string, Slot> specials = [];

    public int Slots { get; private set; }

    public int Bytes { get; private set; }

    public IReadOnlyDictionary<(ulong Value, int Bits), Slot> Constants => constants;

    /// <summary>By name, such as <c>%tid.x</c>.</summary>
    public IReadOnlyDictionary<string, Slot> Specials => specials;

    public Slot Add(int bits)
    {
        var slot = new Slot(Slots++, Bytes, bits);
        Bytes += slot.Bytes;
        return slot;
    }

    public Slot Constant(ulong value, int bits)
    {
        value = bits == 64 ? value : value & ((1UL << bits) - 1);
        if (!constants.TryGetValue((value, bits), out var slot))
        {
            constants.Add((value, bits), slot = Add(bits));
        }

        return slot;
    }

    public Slot Special(string name, int bits)
    {
        if (!specials.TryGetValue(name, out var slot))
        {
            specials.Add(name, slot = Add(bits));
        }

        return slot;
    }
}
