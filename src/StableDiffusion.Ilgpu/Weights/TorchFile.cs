using System.Text;
using Microsoft.Win32.SafeHandles;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// A file of torch.save (<c>.ckpt</c>, <c>.pt</c>, <c>.pth</c>, <c>.bin</c>) in the format since PyTorch 1.6: a zip archive whose
/// <c>NAME/data.pkl</c> is a pickle of the saved object and whose <c>NAME/data/KEY</c> are the storages of its tensors. Nothing of it
/// is executed (<see cref="PickleReader"/>).
/// </summary>
internal sealed class TorchFile : IWeightFile
{
    private const string StateKey = "state_dict", PickleName = "/data.pkl";
    private const long LargestPickle = 100_000_000;

    private readonly TensorFile file;
    private readonly TorchTensorNames names;

    private TorchFile(string path, TorchDictionary root, TorchTensorNames names, TensorFile file) =>
        (Description, Root, this.names, this.file) = (path, root, names, file);

    public string Description { get; }

    /// <summary>The saved object.</summary>
    public TorchDictionary Root { get; }

    /// <summary>
    /// The tensors under <c>state_dict</c> where the saved dictionary has one, else those of the whole dictionary. The names of nested
    /// dictionaries and the numbers of list items are joined by dots.
    /// </summary>
    public IReadOnlyDictionary<string, TensorInfo> Tensors => names.Tensors;

    /// <summary>Whether a file that starts with these bytes is <see cref="Open"/>'s concern: a zip archive or a bare pickle.</summary>
    public static bool Looks(ReadOnlySpan<byte> start) => start.StartsWith("PK"u8) || start.StartsWith((ReadOnlySpan<byte>)[0x80]);

    /// <exception cref="StableDiffusionException">The file cannot be read, is damaged, or is not one of torch.save's.</exception>
    public static TorchFile Open(string path)
    {
        SafeFileHandle? handle = null;
        try
        {
            handle = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read);
            var file = handle;
            var length = RandomAccess.GetLength(file);
            var (root, names) = Parse(path, length, (offset, bytes) => TensorFile.ReadExactly(file, offset, bytes));
            var tensors = new TensorFile(path, file);
            handle = null;
            return new TorchFile(path, root, names, tensors);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw StableDiffusionException.CannotRead(path, e);
        }
        finally
        {
            handle?.Dispose();
        }
    }

    public void Read(string name, Span<float> destination)
    {
        _ = WeightCheck.Readable(this, name, destination.Length);
        if (Locate(name) is { } stored)
        {
            stored.Read(destination);
        }
        else
        {
            StridedReader.Read(file, names.Find(name), destination, FloatConversion.ToSingle);
        }
    }

    public void Read(string name, Span<ushort> destination)
    {
        _ = WeightCheck.Readable(this, name, destination.Length);
        if (Locate(name) is { } stored)
        {
            stored.Read(destination);
        }
        else
        {
            StridedReader.Read(file, names.Find(name), destination, FloatConversion.ToHalf);
        }
    }

    public StoredTensor? Locate(string name) =>
        names.Find(name) is { IsContiguous: true } tensor ? new StoredTensor(file, tensor.Type, tensor.Offset) : null;

    public string Sha256(long skipped = 0) => file.Sha256(skipped);

    public void Dispose() => file.Dispose();

    private static (TorchDictionary Root, TorchTensorNames Names) Parse(string path, long length, Action<long, byte[]> read)
    {
        RequireZip(path, length, read);
        var budget = new AllocationBudget(path, length);
        var zip = ZipDirectory.Read(path, length, read, budget);
        var pickle = FindPickle(path, zip);
        var archive = pickle.Name[..^PickleName.Length];
        RequireLittleEndian(path, zip, archive, read);

        if (pickle.Length > LargestPickle)
        {
            throw new StableDiffusionException($"{path}: {pickle.Name} has {pickle.Length} bytes; at most {LargestPickle} are read");
        }

        var used = new List<(long Start, long End, string Name)>();
        var bytes = new byte[Use(pickle).Length];
        read(used[0].Start, bytes);
        if (Crc32.Of(bytes) is var crc && crc != pickle.Crc)
        {
            throw new StableDiffusionException(
                $"{path}: {pickle.Name} has the checksum {crc:x8}, not {pickle.Crc:x8}; the file is damaged");
        }

        var objects = new TorchObjects(
            key => zip.Entries.TryGetValue($"{archive}/data/{key}", out var entry) ? Use(entry) : null, budget);
        var saved = PickleReader.Read($"{path}: {pickle.Name}", bytes, objects, budget);
        RequireDisjoint(path, used);
        if (saved is not TorchDictionary root)
        {
            throw new StableDiffusionException($"{path}: holds {TorchObjects.Describe(saved)}, not a dictionary of tensors");
        }

        var state = root.TryGetValue(StateKey, out var value) && value is TorchDictionary inner ? inner : root;
        return (root, TorchTensorNames.Collect(path, state, bytes.Length, budget));

        (long Offset, long Length) Use(ZipEntry entry)
        {
            var offset = zip.OffsetOf(entry);
            used.Add((offset, offset + entry.Length, entry.Name));
            return (offset, entry.Length);
        }
    }

    private static void RequireZip(string path, long length, Action<long, byte[]> read)
    {
        var start = new byte[Math.Min(length, 4)];
        read(0, start);
        if (start.AsSpan().StartsWith((ReadOnlySpan<byte>)[0x80]))
        {
            throw new StableDiffusionException(
                $"{path}: is in the format of PyTorch before 1.6, which is not read; convert it with PyTorch: " +
                "torch.save(torch.load(\"OLD\", map_location=\"cpu\", weights_only=True), \"NEW\")");
        }

        if (!start.AsSpan().StartsWith("PK\x3\x4"u8))
        {
            throw new StableDiffusionException($"{path}: is not a file of torch.save (it is not a zip archive), or damaged");
        }
    }

    private static ZipEntry FindPickle(string path, ZipDirectory zip)
    {
        var pickles = zip.Entries.Values.Where(
            e => e.Name.EndsWith(PickleName, StringComparison.Ordinal) && e.Name.Count(c => c == '/') == 1);
        if (pickles.Take(2).ToList() is not [var pickle])
        {
            throw new StableDiffusionException(
                $"{path}: is a zip archive, but not one of torch.save: it does not hold exactly one NAME{PickleName}");
        }

        return !zip.Entries.ContainsKey(pickle.Name.Replace(PickleName, "/constants.pkl", StringComparison.Ordinal)) ? pickle
            : throw new StableDiffusionException(
                $"{path}: is a TorchScript archive, a program and not only its tensors; save its state_dict instead");
    }

    /// <summary>PyTorch before 2.1 writes no byte order; it ran on little-endian machines.</summary>
    private static void RequireLittleEndian(string path, ZipDirectory zip, string archive, Action<long, byte[]> read)
    {
        if (!zip.Entries.TryGetValue($"{archive}/byteorder", out var entry))
        {
            return;
        }

        var text = new byte[Math.Min(entry.Length, 16)];
        read(zip.OffsetOf(entry), text);
        if (Encoding.Latin1.GetString(text).Trim() is var order && order != "little")
        {
            throw new StableDiffusionException($"{path}: its byte order is {order}; only little is read");
        }
    }

    private static void RequireDisjoint(string path, List<(long Start, long End, string Name)> used)
    {
        used.Sort();
        for (var i = 1; i < used.Count; i++)
        {
            if (used[i].Start < used[i - 1].End)
            {
                throw new StableDiffusionException($"{path}: {used[i - 1].Name} and {used[i].Name} overlap; the file is damaged");
            }
        }
    }
}
