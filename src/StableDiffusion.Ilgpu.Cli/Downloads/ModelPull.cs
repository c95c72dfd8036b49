namespace StableDiffusion.Ilgpu.Cli.Downloads;

/// <summary>
/// Brings a model's files into the cache: asks the hub what there is, chooses, fetches what is missing, checks, and gives each file its
/// name only then. One process at a time works on a folder.
/// </summary>
internal sealed class ModelPull(
    HubClient hub, ModelCache cache, HubReference reference, ManifestModel? model, string? variant, PullDisplay display)
{
    private static readonly TimeSpan LockPoll = TimeSpan.FromMilliseconds(200);

    /// <summary>The system's error where another process holds a lock: Windows' ERROR_SHARING_VIOLATION, EWOULDBLOCK of macOS and of Linux.</summary>
    private static readonly int HeldByAnother = OperatingSystem.IsWindows() ? unchecked((int)0x80070020) : OperatingSystem.IsMacOS() ? 35 : 11;

    private readonly string folder = cache.FolderOf(reference, variant);

    /// <summary>Fetches and returns the path that <c>-m</c> will open.</summary>
    /// <exception cref="StableDiffusionException">Something could not be fetched or checked; what came is kept.</exception>
    public async Task<string> RunAsync(CancellationToken cancellation)
    {
        try
        {
            Directory.CreateDirectory(folder);
            using var taken = await LockAsync(cancellation);
            return await PullAsync(cancellation);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StableDiffusionException($"cannot write to the cache '{cache.Root}': {e.Message}", e);
        }
    }

    private async Task<string> PullAsync(CancellationToken cancellation)
    {
        var listing = await hub.ListAsync(reference, cancellation);
        var chosen = FileSelection.Choose(listing, reference.File, variant, $"{reference with { File = null }}");
        var record = CacheRecord.Read(folder);
        var files = new List<(string Path, long Size, Digest? Digest)>();
        foreach (var entry in chosen)
        {
            files.Add((entry.Path, await SizeOfAsync(entry, listing.Commit, cancellation), DigestOf(entry)));
        }

        var missing = new List<(string Path, long Size, Digest? Digest)>();
        foreach (var entry in files)
        {
            if (!await IsThereAsync(entry.Path, entry.Size, entry.Digest, record, cancellation))
            {
                missing.Add(entry);
            }
        }

        CheckSpace(missing);
        (record.Repository, record.Commit) = (reference.Repository, listing.Commit);
        if (missing.Any(m => record.Model?.Contains(m.Path) == true))
        {
            // Between the old files and the new ones the folder is no model.
            record.Model = null;
        }

        record.Write(folder);
        foreach (var (path, size, digest) in files)
        {
            var kept = !missing.Contains((path, size, digest));
            if (!kept)
            {
                await FetchAsync(path, size, digest, listing.Commit, cancellation);
                record.Files[path] = new CachedFile(size, digest);
                record.Write(folder);
            }

            display.WriteLine($"{path}  {Tables.Bytes(size)}  {(kept ? "already there, " : "")}{Verdict(digest)}");
        }

        if (reference.File is null)
        {
            record.Model = [.. files.Select(f => f.Path)];
            record.Write(folder);
        }

        return ModelCache.TargetIn(folder, reference.File)!;
    }

    private static string Verdict(Digest? digest) =>
        digest is null ? "not verified: nobody gives a hash, only the size agrees" : $"{digest.Name} verified with {digest.Source}";

    /// <summary>The manifest's digest before the hub's; two of one kind must agree.</summary>
    private Digest? DigestOf(HubFile file)
    {
        var published = model?.DigestOf(file.Path);
        return published is null || file.Digest is null || published.Agrees(file.Digest)
            ? published ?? file.Digest
            : throw new StableDiffusionException(
                $"{reference with { File = file.Path }}: the hub offers SHA-256 {file.Digest.Value}, "
                + $"but {published.Source} says {published.Value}");
    }

    private async Task<long> SizeOfAsync(HubFile file, string commit, CancellationToken cancellation)
    {
        var source = reference with { File = file.Path };
        var size = file.Size ?? (await hub.LocateAsync(source, commit, cancellation)).Size;
        return size >= 0 ? size.Value : throw new StableDiffusionException($"{source}: the hub does not say how many bytes it has");
    }

    private async Task<bool> IsThereAsync(string path, long size, Digest? digest, CacheRecord record, CancellationToken cancellation)
    {
        var target = ModelCache.PathIn(folder, path);
        if (!File.Exists(target) || new FileInfo(target).Length != size)
        {
            return false;
        }

        if (record.Files.TryGetValue(path, out var known) && known.Size == size && known.Digest?.Kind == digest?.Kind
            && known.Digest?.Value == digest?.Value)
        {
            return digest is not null;
        }

        // Ended between the last rename and the record, or put there by hand.
        if (digest is null || await HashAsync(target, size, digest, cancellation) != digest.Value)
        {
            return false;
        }

        record.Files[path] = new CachedFile(size, digest);
        return true;
    }

    private void CheckSpace(List<(string Path, long Size, Digest? Digest)> missing)
    {
        var needed = missing.Sum(m => (decimal)m.Size - Math.Min(m.Size, FileDownload.AllocatedBytes(ModelCache.PathIn(folder, m.Path))));
        var free = FreeBytes();
        if (needed > free)
        {
            throw new StableDiffusionException(
                $"{reference}: needs {needed / (1 << 30):0.0} GiB in the cache '{cache.Root}', where {Tables.Bytes(free)} are free");
        }
    }

    /// <summary>.NET knows no space but that of Windows' drives with letters; others are filled until they are full.</summary>
    private long FreeBytes() =>
        OperatingSystem.IsWindows() && Path.GetPathRoot(folder)!.StartsWith(@"\\", StringComparison.Ordinal) ? long.MaxValue : new DriveInfo(folder).AvailableFreeSpace;

    private async Task FetchAsync(string path, long size, Digest? digest, string commit, CancellationToken cancellation)
    {
        var target = ModelCache.PathIn(folder, path);
        Directory.CreateDirectory(Path.GetDirectoryName(target)!);
        display.Begin(path, size);
        try
        {
            var source = reference with { File = path };
            await new FileDownload(hub, source, commit, size, digest, target, display.Advance).RunAsync(cancellation);
            var hash = digest is null ? null : await HashAsync(FileDownload.PartOf(target), size, digest, cancellation);
            if (digest is not null && hash != digest.Value)
            {
                File.Delete(FileDownload.StateOf(target));
                File.Delete(FileDownload.PartOf(target));
                throw new StableDiffusionException(
                    $"{source}: wrong content: {digest.Name} is {hash}, {digest.Source} says {digest.Value}; nothing was kept");
            }

            FinishedFile.Move(FileDownload.PartOf(target), target);
            File.Delete(FileDownload.StateOf(target));
        }
        finally
        {
            display.End();
        }
    }

    private Task<string> HashAsync(string path, long size, Digest digest, CancellationToken cancellation)
    {
        display.Begin($"checking {Path.GetFileName(path)}", size);
        return digest.ComputeAsync(path, display.Advance, cancellation);
    }

    private async Task<FileStream> LockAsync(CancellationToken cancellation)
    {
        // The file stays: deleting it would let two processes hold two files of one name.
        var path = folder + ".lock";
        for (var told = false; ; told = true)
        {
            try
            {
                return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException e) when (e.HResult == HeldByAnother)
            {
                if (!told)
                {
                    display.Notice($"another process is pulling {reference with { File = null }}; waiting for it");
                }

                await Task.Delay(LockPoll, cancellation);
            }
        }
    }
}
