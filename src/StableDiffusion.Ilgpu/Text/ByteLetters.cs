namespace StableDiffusion.Ilgpu.Text;

/// <summary>The printable letters that stand for the 256 byte values in byte-level vocabularies.</summary>
internal static class ByteLetters
{
    static ByteLetters()
    {
        int id = 0, others = 0;
        foreach (bool printable in (bool[])[true, false])
        {
            for (int value = 0; value < 256; value++)
            {
                if (IsPrintable(value) == printable)
                {
                    Letters[value] = (char)(printable ? value : 256 + others++);
                    InOrderOfIds[id++] = (byte)value;
                }
            }
        }
    }

    /// <summary>The letter of every byte value.</summary>
    public static char[] Letters { get; } = new char[256];

    /// <summary>The byte values in the order in which CLIP's vocabulary numbers their letters.</summary>
    public static byte[] InOrderOfIds { get; } = new byte[256];

    private static bool IsPrintable(int value) => value is >= 33 and <= 126 or >= 161 and <= 172 or >= 174;
}
