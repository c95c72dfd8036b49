namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>
/// Where a warp keeps a register, or a constant: the values of its 32 lanes, of 4 bytes each up to 32 bits and of 8 bytes above. A predicate is one
/// word with a bit a lane.
/// </summary>
/// <param name="Index">Among all slots of a program.</param>
/// <param name="Offset">In bytes.</param>
/// <param name="Bits">1, 8, 16, 32 or 64.</param>
internal readonly record struct Slot(int Index, int Offset, int Bits)
{
    public bool IsWide => Bits == 64;

    public int Bytes => Bits == 1 ? sizeof(uint) : IsWide ? 32 * sizeof(ulong) : 32 * sizeof(uint);
}
